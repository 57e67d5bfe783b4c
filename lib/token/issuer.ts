const placeholder = '{tenantid}';

/** Which issuers are accepted. One with `{tenantid}` in it is a template for one of the tenants. */
export interface IssuerRules {
  readonly issuer: readonly string[];
  readonly tenants?: readonly string[] | 'any' | undefined;
}

/** Whether an issuer stands for many. */
export function isTemplate(issuer: string): boolean {
  return issuer.includes(placeholder);
}

/**
 * Whether the issuer of these claims is accepted. In a template stands the token's own `tid`: a token of one tenant that
 * names the issuer of another is refused, and so is every tenant that is not listed.
 */
export function isIssuerOf({ iss, tid }: Readonly<Record<string, unknown>>, { issuer, tenants }: IssuerRules): boolean {
  if (typeof iss !== 'string') return false;
  return issuer.some((each) => {
    if (!isTemplate(each)) return each === iss;
    return isTenant(tid, tenants) && each.replaceAll(placeholder, tid) === iss;
  });
}

/** Whether a tenant may stand in a template. */
export function isTenant(tid: unknown, tenants: IssuerRules['tenants']): tid is string {
  // A slash would let one tenant write the rest of another's issuer.
  if (typeof tid !== 'string' || !/^[\w.-]+$/.test(tid) || tenants === undefined) return false;
  return tenants === 'any' || tenants.includes(tid);
}

/** Whether a name of an issuer, without a token, is one of these: at a template by the tenant that stands in it. */
export function isIssuerName(name: string, { issuer, tenants }: IssuerRules): boolean {
  return issuer.some((each) => {
    const [before = '', ...rest] = each.split(placeholder);
    const after = rest.join(placeholder);
    if (!isTemplate(each)) return each === name;
    if (name === each) return true;
    if (!name.startsWith(before) || !name.endsWith(after)) return false;
    return isTenant(name.slice(before.length, name.length - after.length), tenants);
  });
}

/**
 * Whether a token is of the issuer that the session began with: two issuers may use one subject. The access token may
 * name its issuer in another way than the ID token; then both are of one tenant.
 */
export function isOfSameIssuer({ iss, tid }: Readonly<Record<string, unknown>>, began: string | undefined): boolean {
  if (began === undefined || iss === began) return true;
  return typeof tid === 'string' && tid !== '' && began.split('/').includes(tid);
}
