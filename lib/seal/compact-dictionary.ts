/**
 * What sessions have in common, for deflate: the names of fields and claims, and the beginnings of their values. It is a
 * part of version 1 of the format. A seal of today opens with these bytes only, so they never change: better ones are
 * version 2. What is met most often stands last, where deflate names it with the fewest bits.
 */
export const dictionary1 = Buffer.from(
  [
    // Claims of other vendors.
    '"https://login.microsoftonline.com/","tid":"","oid":"","upn":"","unique_name":"","wids":["b79fbf4d-3ef9-4689-8143-76b194e85509"],',
    '"appid":"","appidacr":"1","aio":"","rh":"","uti":"","ver":"2.0","xms_st":{"sub":"',
    '"https://cognito-idp.us-east-1.amazonaws.com/","cognito:groups":["admin"],"token_use":"access","origin_jti":"","event_id":"","version":2,"username":"',
    '".auth0.com/","gty":"authorization_code","https://accounts.google.com","https://securetoken.google.com/"',
    '.okta.com/oauth2/default","cid":"","uid":"00u","scp":["openid","profile","email","offline_access"],"groups":["Everyone"],"ver":1,',
    '"https://keycloak.example.com/realms/","allowed-origins":["https://app.example.com"],"realm_access":{"roles":["default-roles-","offline_access","uma_authorization"]},',
    '"resource_access":{"account":{"roles":["manage-account","manage-account-links","view-profile"]}},"session_state":"","acr":"1","typ":"Bearer","azp":"',
    '"tenant_id":"","entitlements":["audit-logs","sso","scim"],"nbf":17,"auth_time":17,"amr":["pwd","mfa","otp"],"nonce":"',
    // Permissions and roles.
    '"users:read","users:write","posts:read","posts:write","files:read","reports:read","projects:write","settings:write","members:manage",',
    '"admin:read","admin:write","billing:manage","create:","update:","delete:","read:","write:",":create",":update",":delete",":manage","owner","editor","viewer",',
    // The user of an OpenID provider.
    '"user":{"name":"","given_name":"","family_name":"","middle_name":null,"nickname":"","preferred_username":"","profile":"https://www.","picture":"https://lh3.googleusercontent.com/a/","https://s.gravatar.com/avatar/',
    '","website":"","gender":"","birthdate":"","zoneinfo":"Europe/Berlin","locale":"en-US","phone_number":"+1","phone_number_verified":false,"address":{"updated_at":17,',
    '@gmail.com","@outlook.com","@example.com","email_verified":true,"email":"","groups":[],"id":"auth0|","id":"google-oauth2|',
    // Ours.
    '{"impersonator":{"email":"","reason":null},"tokenSubject":"","tokenIssuer":"https://","authenticationMethod":"Password","GoogleOAuth","MicrosoftOAuth","MagicAuth","SSO","Passkey",',
    // The header and the claims of a JWT.
    '{"typ":"at+jwt","alg":"ES256","kid":"{"alg":"RS256","typ":"JWT","kid":"{"alg":"RS256","kid":"sso_oidc_key_pair_01',
    '{"aud":["https://api.example.com","https://api.example.com/"],"client_id":"client_01","azp":"","act":{"sub":"","jti":"01","scope":"openid profile email offline_access",',
    '{"iss":"https://api.workos.com/user_management/client_01","sub":"user_01","sid":"session_01","org_id":"org_01","role":"member","roles":["admin","member"],',
    '"permissions":["billing:read","posts:write"],"entitlements":[],"feature_flags":["beta"],"jti":"01","iss":"https://","sub":"user_01","exp":17,"iat":17,"exp":17}',
    // The user of WorkOS.
    '{"user":{"object":"user","id":"user_01","email":"@example.com","emailVerified":true,"firstName":"","lastName":null,"profilePictureUrl":"https://workoscdn.com/images/v1/","profilePictureUrl":null,',
    '"lastSignInAt":"2026-01-01T00:00:00.000Z","createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z","locale":null,"externalId":null,"metadata":{}},',
    '"organizationId":"org_01","sessionId":"-4","expiresAt":17,"usedAt":17,"refreshedAt":17,"startedAt":17,"sealedAt":17}',
  ].join(''),
  'latin1',
);
