/** How a request says who it is. */
export type Via =
  /** By the seal in the session cookie. */
  | 'cookie'
  /** By the seal in the app's own header. */
  | 'header'
  /** By an access token in `Authorization: Bearer`. */
  | 'bearer'
  /** By a key of the app's own in `Authorization: Bearer`. */
  | 'apiKey';
