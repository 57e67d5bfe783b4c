import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export const columns = ['signed out', 'signed in', 'expired and refreshed', 'sign-in'];

/**
 * Starts an app, and visits it as a browser does.
 *
 * @returns for each column whether it is as it must be
 */
export async function drive(node, file, options = {}) {
  const child = spawn(node, [file], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let complaint = '';
  child.stderr.on('data', (chunk) => (complaint += chunk));
  const over = once(child, 'close').then(() => {
    throw new Error(
      `It ended before it listened. ${complaint
        .replaceAll(/^.{300,}$/gm, '…')
        .trim()
        .slice(0, 600)}`,
    );
  });
  over.catch(() => undefined);
  try {
    const url = `http://127.0.0.1:${await Promise.race([portOf(child), over])}`;
    return [await signedOut(url), await signedIn(url), await refreshed(url), await signIn(url)];
  } finally {
    child.kill();
  }
}

async function portOf(child) {
  for await (const line of createInterface(child.stdout)) {
    const [, port] = /^port (\d+)$/.exec(line) ?? [];
    if (port) {
      child.stdout.resume();
      return port;
    }
  }
  return new Promise(() => undefined);
}

const ask = (url, cookie) => fetch(url, { redirect: 'manual', headers: cookie ? { cookie } : {} });
const textOf = async (url) => (await ask(url)).text();
const cookiesOf = (response) => response.headers.getSetCookie().map((line) => line.split(';', 1)[0]);
const written = (response) => cookiesOf(response).filter((each) => /^wos-session[^=]*=./.test(each));

async function signedOut(url) {
  const response = await ask(`${url}/account`);
  return response.status === 401 && written(response).length === 0;
}

async function signedIn(url) {
  const response = await ask(`${url}/account`, await textOf(`${url}/cookie`));
  return response.status === 200 && (await response.text()).includes('ada') && written(response).length === 0;
}

async function refreshed(url) {
  const response = await ask(`${url}/account`, await textOf(`${url}/cookie?expired`));
  return response.status === 200 && (await response.text()).includes('ada') && written(response).length > 0;
}

async function signIn(url) {
  const login = await ask(`${url}/login?returnTo=/account`);
  const { pathname, search } = new URL(login.headers.get('location'));
  const callback = await ask(url + pathname + search, cookiesOf(login).join('; '));
  const account = await ask(`${url}/account`, written(callback).join('; '));
  return callback.headers.get('location') === '/account' && account.status === 200;
}
