/** One thing that was looked at. */
export interface Finding {
  readonly about:
    'options' | 'provider' | 'keys' | 'clock' | 'sign-in' | 'client' | 'sign-out' | 'TLS' | 'fleet' | 'cookie';
  /** `notice`: works, and may not be what is meant. `unknown`: could not be looked at. */
  readonly status: 'good' | 'notice' | 'bad' | 'unknown';
  readonly message: string;
  /** What to do about it. */
  readonly mend?: string | undefined;
}

export type About = Finding['about'];

export const good = (about: About, message: string): Finding => ({ about, status: 'good', message });
export const notice = (about: About, message: string, mend: string): Finding => ({
  about,
  status: 'notice',
  message,
  mend,
});
export const bad = (about: About, message: string, mend: string): Finding => ({ about, status: 'bad', message, mend });
export const unknown = (about: About, message: string, mend?: string): Finding => ({
  about,
  status: 'unknown',
  message,
  mend,
});
