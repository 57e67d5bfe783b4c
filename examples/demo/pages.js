/** The pages that are made here: the provider's own, and the one for errors. */

const page = (title, main) => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title}</title>
    <link rel="icon" href="/seal.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/style.css">
  </head>
  <body class="narrow">
    <main class="card">
      ${main}
    </main>
  </body>
</html>`;

export const signInPage = ({ isSignUp }) =>
  page(
    isSignUp ? 'Create an account' : 'Sign in',
    `<p class="eyebrow">The demo’s identity provider</p>
      <h1>${isSignUp ? 'Create an account' : 'Sign in'}</h1>
      <form method="post" class="stack">
        <label for="name">Your name</label>
        <input id="name" name="name" placeholder="Your name" autocomplete="name" maxlength="60" required autofocus>
        <button class="primary">${isSignUp ? 'Create it' : 'Sign in'}</button>
        <button name="decline" value="yes" formnovalidate>Not now</button>
      </form>
      <p class="hint">No password: any name will do. It stays in this process’s memory.</p>`,
  );

export const signOutPage = (form) =>
  page(
    'Signing out',
    `<p class="eyebrow">The demo’s identity provider</p>
      <h1>Signing out…</h1>
      ${form}
      <button class="primary" id="confirm" form="op.logoutForm" name="logout" value="yes">Sign out</button>
      <script src="/sign-out.js"></script>`,
  );

export const errorPage = (message) =>
  page(
    'Something went wrong',
    `<h1>That did not work</h1>
      <p>${escapeHtml(message)}</p>
      <p><a class="button primary" href="/">Back to the demo</a></p>`,
  );

function escapeHtml(text) {
  return String(text ?? '').replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
