const requests = 20;
const state = { token: undefined, counts: { refreshGrants: 0, leader: 0, joined: 0, remembered: 0 } };
const element = (id) => document.getElementById(id);
const tiles = Array.from({ length: requests }, () => element('tiles').appendChild(document.createElement('li')));
tiles.forEach((tile, index) => show(tile, 'idle', String(index + 1)));

/** A guarded request. Whether the access token is renewed on the way is for the middleware to decide. */
async function callApi() {
  const start = performance.now();
  // Without "no-store" the browser would queue identical requests behind one another.
  try {
    const response = await fetch('/api/me', { cache: 'no-store' });
    const body = await response.json();
    if (response.status === 401) location.assign('/');
    return { ok: response.ok, body, ms: Math.round(performance.now() - start) };
  } catch {
    return { ok: false, body: { error: 'no answer' } };
  }
}

// The log arrives on one long request, guarded when it opens. It renews nothing while it stays open.
const stream = new EventSource('/api/log');
stream.onmessage = ({ data }) => {
  const { user, greeting, token, counts, entries = [] } = JSON.parse(data);
  if (user) setUser(user);
  if (greeting) element('greeting').textContent = greeting;
  if (token) state.token = token;
  if (counts) setCounts(counts);
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
  element('renewals').textContent = counts.leader;
  element('grants').textContent = counts.refreshGrants;
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

const remainingMs = () => Math.max(0, (state.token?.expiresAt ?? 0) - Date.now());

function showToken() {
  if (!state.token) return;
  const remaining = remainingMs();
  const expired = remaining === 0;
  element('ring').classList.toggle('expired', expired);
  element('rest').setAttribute('stroke-dashoffset', 100 - (100 * remaining) / state.token.lifetimeMs);
  element('seconds').textContent = Math.ceil(remaining / 1000);
  element('unit').textContent = expired ? 'expired' : 'seconds';
  const words = expired
    ? 'Expired. You are still signed in: the next request renews it.'
    : 'Valid. Requests go straight through.';
  // A screen reader speaks every change of a status, so it changes only when there is news.
  if (element('token-state').textContent !== words) element('token-state').textContent = words;
}
const countdown = setInterval(showToken, 200);

element('call').addEventListener('click', async () => {
  const { ok, body, ms } = await callApi();
  const how = body.refreshed ? 'the token was renewed on the way' : 'the token was still valid';
  element('answer').textContent = ok ? `200 in ${ms} ms: ${how}.` : `Failed: ${body.error}.`;
});

element('burst').addEventListener('click', async () => {
  const button = element('burst');
  button.disabled = true;
  element('call').disabled = true; // a renewal now would only make the wait longer
  element('result').textContent = '';
  element('result-detail').textContent =
    'Waiting until the access token has expired. Nothing here renews it meanwhile.';
  tiles.forEach((tile, index) => show(tile, 'idle', String(index + 1)));

  while (remainingMs() > 0) {
    button.textContent = `Waiting for expiry: ${Math.ceil(remainingMs() / 1000)} s`;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  button.textContent = 'Under way…';
  const before = state.counts;
  const answers = await Promise.all(
    tiles.map(async (tile) => {
      show(tile, 'waiting');
      const answer = await callApi();
      show(tile, answer.ok ? 'good' : 'bad', ...(answer.ok ? [make('b', answer.ms), 'ms'] : ['×']));
      return answer;
    }),
  );
  showResult(before, answers);
  button.textContent = '20 requests at once';
  button.disabled = false;
  element('call').disabled = false;
});

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
  if (failed) told.push(`${requests - good.length} failed (${failed.body.error})`);
  element('result-detail').textContent =
    `${told.join(', ')}. A browser keeps about six connections open at a time, so the others wait their turn.`;
}
