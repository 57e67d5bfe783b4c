const requests = 20;
const state = { token: undefined, aheadMs: 0, counts: { refreshGrants: 0, leader: 0, joined: 0, remembered: 0 } };
const element = (id) => document.getElementById(id);
const tiles = tilesIn('tiles');
const withoutTiles = tilesIn('without-tiles');

function tilesIn(id) {
  const made = Array.from({ length: requests }, () => element(id).appendChild(document.createElement('li')));
  clear(made);
  return made;
}

/** A guarded request. Whether the access token is refreshed on the way is for the middleware to decide. */
async function call(path, init) {
  const start = performance.now();
  // Without "no-store" the browser would queue identical requests behind one another.
  try {
    const response = await fetch(path, { cache: 'no-store', ...init });
    const { status, ok } = response;
    return { ok, status, body: await response.json(), ms: Math.round(performance.now() - start) };
  } catch {
    return { ok: false, status: 0, body: { error: 'no_answer' } };
  }
}
const callApi = () => call('/api/me');
const post = (path) => call(path, { method: 'POST' });

// The log arrives on one long request, guarded when it opens. It renews nothing while it stays open.
const stream = new EventSource('/api/log');
stream.onmessage = ({ data }) => {
  const { user, greeting, token, cookie, counts, aheadMs, provider, device, entries = [] } = JSON.parse(data);
  if (user) setUser(user);
  if (greeting) element('greeting').textContent = greeting;
  if (token) state.token = token;
  if (cookie) showCookie(cookie);
  if (device) showDevice(device);
  if (counts) setCounts(counts);
  if (aheadMs !== undefined) state.aheadMs = aheadMs;
  if (provider) document.querySelector(`input[name="provider"][value="${provider}"]`).checked = true;
  entries.forEach(showEntry);
  showToken();
};
stream.onerror = () => {
  if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
  clearInterval(countdown);
  element('token-state').textContent = 'The connection has ended. Load the page again to go on.';
};

function setUser({ name, email }) {
  element('name').textContent = `, ${name}`;
  element('email').textContent = email;
}

function setCounts(counts) {
  state.counts = counts;
  element('refreshes').textContent = counts.leader;
  element('grants').textContent = counts.refreshGrants;
}

function showCookie({ name, bytes, start }) {
  element('cookie-name').textContent = name;
  element('cookie-bytes').textContent = bytes.toLocaleString('en');
  element('cookie-meter').style.inlineSize = `${Math.min(100, (100 * bytes) / 4096)}%`;
  element('cookie-start').textContent = `${start}…`;
}

/** Over https only: over http browsers bind no session. */
function showDevice({ bound }) {
  element('device').hidden = false;
  element('theft').hidden = !bound;
  if (!bound) return;
  element('device-state').textContent = 'Bound to this device';
  element('device-state').classList.add('good');
  element('device-hint').textContent =
    'Your browser made a key for this session, and proves every few minutes that it has it still.';
}

function showEntry({ id, at, text, times }) {
  const log = element('log');
  const [cause, effect] = text.split(' → ');
  const line = log.querySelector(`[data-id="${id}"]`) ?? document.createElement('li');
  line.dataset.id = id;
  line.replaceChildren(
    make('time', new Date(at).toLocaleTimeString([], { hour12: false })),
    make('span', cause, 'cause'),
    make('span', effect, 'effect'),
    ...(times > 1 ? [make('span', `${times} ×`, 'times')] : []),
  );
  if (!line.isConnected) log.prepend(line);
  while (log.children.length > 40) log.lastChild.remove();
}

function make(name, text, className = '') {
  return Object.assign(document.createElement(name), { textContent: text, className });
}

const remainingMs = () => Math.max(0, (state.token?.expiresAt ?? 0) - Date.now() - state.aheadMs);

function showToken() {
  if (!state.token) return;
  const remaining = remainingMs();
  const expired = remaining === 0;
  element('ring').classList.toggle('expired', expired);
  element('rest').setAttribute('stroke-dashoffset', 100 - (100 * remaining) / state.token.lifetimeMs);
  element('seconds').textContent = Math.ceil(remaining / 1000);
  element('unit').textContent = expired ? 'expired' : 'seconds';
  element('expire').disabled = expired;
  const words = expired
    ? 'Expired. You are still signed in: the next request refreshes it.'
    : 'Valid. Requests go straight through.';
  // A screen reader speaks every change of a status, so it changes only when there is news.
  if (element('token-state').textContent !== words) element('token-state').textContent = words;
}
const countdown = setInterval(showToken, 200);

element('call').addEventListener('click', async () => {
  const button = element('call');
  button.disabled = true;
  element('answer').textContent = 'Under way…';
  element('answer').replaceChildren(...wordsOf(await callApi()));
  button.disabled = false;
});

/** What became of a request, for people. */
function wordsOf({ status, ok, body, ms }) {
  if (ok)
    return [`200 in ${ms} ms: ${body.refreshed ? 'the token was refreshed on the way' : 'the token was still valid'}.`];
  if (status === 503)
    return [`503 (${body.code}) in ${ms} ms: it cannot be known now who you are. Your cookie is kept.`];
  if (status !== 401) return [`Failed: ${body.code ?? body.error}.`];
  // Nothing here can be asked any more.
  stream.close();
  clearInterval(countdown);
  element('token-state').textContent = 'The session is over.';
  const again = Object.assign(document.createElement('a'), { href: '/login', textContent: 'Sign in again' });
  return [`401 (${body.code}): the session is over, and its cookie was cleared. `, again];
}

element('expire').addEventListener('click', () => post('/api/demo/expire'));

for (const choice of document.querySelectorAll('input[name="provider"]')) {
  choice.addEventListener('change', () => post(`/api/demo/provider/${choice.value}`));
}

element('end').addEventListener('click', async () => {
  const answer = await post('/api/end');
  element('provider-answer').replaceChildren(
    ...(answer.ok
      ? ['Ended there. Your access token serves until it expires: expire it, and call again.']
      : wordsOf(answer)),
  );
});

function showStatus(id, status, words) {
  element(id).textContent = `${status}: ${words}`;
  element(id).className = status === 200 ? 'good' : 'bad';
}

const showCopy = ({ body: { copy } }) => showStatus('copy-answer', copy, copy === 200 ? 'it is you' : 'nobody');
const showOwn = ({ status }) => showStatus('own-answer', status, status === 200 ? 'signed in' : 'not signed in');

element('copy').addEventListener('click', async () => {
  showCopy(await post('/api/copy'));
  showOwn(await callApi());
  element('later').disabled = false;
});

element('later').addEventListener('click', async () => {
  element('later').disabled = true;
  await post('/api/copy/later');
  // The browser finds its proof gone, and gets another one before this request goes out.
  showOwn(await callApi());
  showCopy(await post('/api/copy/attempt'));
});

element('burst').addEventListener('click', async () => {
  const button = element('burst');
  button.disabled = true;
  element('call').disabled = true; // a refresh now would only make the wait longer
  element('result').textContent = '';
  element('result-detail').textContent =
    'Waiting until the access token has expired. Nothing here refreshes it meanwhile.';
  clear(tiles);

  while (remainingMs() > 0) {
    button.textContent = `Waiting for expiry: ${Math.ceil(remainingMs() / 1000)} s`;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  button.textContent = 'Under way…';
  const before = state.counts;
  showResult(before, await burst(tiles, callApi));
  button.textContent = '20 requests at once';
  button.disabled = false;
  element('call').disabled = false;
});

element('without').addEventListener('click', async () => {
  const button = element('without');
  button.disabled = true;
  element('without-result').textContent = '';
  clear(withoutTiles);
  const begun = await post('/api/without');
  if (begun.ok) {
    const answers = await burst(withoutTiles, () => call('/api/without'));
    const good = answers.filter(({ ok }) => ok).length;
    const grants = Math.max(...answers.map(({ body }) => body.grants ?? 0));
    const after = await call('/api/without');
    const fate = after.ok ? '' : ', and signed out for good';
    element('without-result').textContent = `${good} of ${requests} signed in, ${grants} refresh grants${fate}`;
  } else {
    element('without-result').replaceChildren(...wordsOf(begun));
  }
  button.disabled = false;
});

function clear(row) {
  row.forEach((tile, index) => show(tile, 'idle', String(index + 1)));
}

function burst(row, ask) {
  return Promise.all(
    row.map(async (tile) => {
      show(tile, 'waiting');
      const answer = await ask();
      show(tile, answer.ok ? 'good' : 'bad', ...(answer.ok ? [make('b', answer.ms), 'ms'] : [answer.status || '×']));
      return answer;
    }),
  );
}

function show(tile, look, ...content) {
  tile.className = look;
  tile.replaceChildren(...content);
}

/** Every number here is counted on the server: the grants by the provider, the rest by the middleware's events. */
function showResult(before, answers) {
  const good = answers.filter(({ ok }) => ok);
  const last = (name) => Math.max(...good.map(({ body }) => body.counts[name]), before[name]) - before[name];
  const [grants, led, joined, remembered] = ['refreshGrants', 'leader', 'joined', 'remembered'].map(last);
  const fresh = good.length - led - joined - remembered;
  const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

  element('result').textContent = `${good.length} of ${requests} signed in, ${plural(grants, 'refresh grant')}`;
  const parts = [
    [led, 'ran the refresh'],
    [joined, 'waited for it'],
    [remembered, 'came with the old cookie later and got the same new one'],
    [fresh, 'already carried the new cookie'],
  ];
  const told = parts.filter(([count]) => count > 0).map(([count, words]) => `${count} ${words}`);
  const failed = answers.find(({ ok }) => !ok);
  if (failed) told.push(`${requests - good.length} failed (${failed.body.code ?? failed.body.error})`);
  element('result-detail').textContent =
    `${told.join(', ')}. A browser keeps about six connections open at a time, so the others wait their turn.`;
}
