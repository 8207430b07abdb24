// The page of scripts/demo.  Requests go to /balanced/, which is what nginx
// balances; who gets how many of all requests, and in what state the servers
// are, is asked from the API; servers are slowed and stopped by /control/.

'use strict';

const TILES = 100;                      // last answers that are shown
const SHARE_SECONDS = 5;
const PLOT_SECONDS = 60;
const PATIENCE = 30000;                 // ms for an answer
const KEEP_INTERVAL = 100;              // ms between requests that are kept up
const KEEP_OPEN = 20;                   // of them, without an answer
const SVG = 'http://www.w3.org/2000/svg';

const $ = (id) => document.getElementById(id);

const known = new Map();                // address: what /control/ says of it
const hues = new Map();                 // address: that of one without a name
const rows = new Map();                 // address: its part of the page
const history = [];                     // { at, requests: Map of address }
const sent = { count: 0, answered: 0, failed: 0, open: 0, times: [] };

let peers = [];
let simulated = false;
let keeping = 0;

performance.setResourceTimingBufferSize(2000);


// What is known of a server.  One that is not simulated has a colour as well: by
// the golden angle each is far from those before.

function server(address) {
  const found = known.get(address);
  if (found?.name) return found;

  if (!hues.has(address)) hues.set(address, Math.round(215 + 137.5 * hues.size) % 360);
  return { ...found, address, name: '', hue: hues.get(address) };
}

const colour = (address) => `hsl(${server(address).hue} 60% 40%)`;

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}


// Requests from here.

async function send() {
  const began = performance.now();
  const uri = `/balanced/${simulated ? 'picture.svg' : ''}?n=${++sent.count}`;
  const answer = { address: '', status: 0, picture: null };

  sent.open++;
  showSummary();

  try {
    const response = await fetch(uri,
      { cache: 'no-store', redirect: 'manual', signal: AbortSignal.timeout(PATIENCE) });

    // of several that one request tried the last one has answered
    answer.address = (response.headers.get('X-Server') ?? '').split(', ').at(-1);
    answer.status = response.type === 'opaqueredirect' ? 302 : response.status;

    const body = await response.blob();
    if (response.ok && body.type === 'image/svg+xml') answer.picture = body;
  } catch {
    answer.status = 0;
  }

  sent.open--;

  const took = timeOf(uri) ?? performance.now() - began;
  const good = answer.status > 0 && answer.status < 500;

  sent.answered++;
  if (good) sent.times.push(took);
  else sent.failed++;
  if (sent.times.length > 200) sent.times.shift();

  showAnswer(answer, good, took);
  showSummary();
}

// A browser has six requests on the way to a host, and others wait before they
// are sent: the time of a request is that from when it was.

function timeOf(uri) {
  const entry = performance.getEntriesByName(new URL(uri, location).href).at(-1);

  if (!sent.open) performance.clearResourceTimings();
  return entry?.requestStart ? entry.responseEnd - entry.requestStart : undefined;
}

function showAnswer(answer, good, took) {
  const item = document.createElement('li');
  const { name } = server(answer.address);
  const who = name || answer.address || 'nobody';
  const time = `${took < 9.95 ? took.toFixed(1) : Math.round(took)} ms`;
  let face;

  if (answer.picture) {
    face = document.createElement('img');
    face.alt = who;
    face.src = URL.createObjectURL(answer.picture);
  } else {
    face = document.createElement('span');
    face.className = good ? 'tile' : 'tile failed';
    face.textContent = good ? answer.address.replace(/.*:/, ':') : answer.status || '×';
    if (good) face.style.backgroundColor = colour(answer.address);
  }

  item.dataset.server = answer.address;
  item.dataset.status = answer.status;
  item.title = `${who} ${answer.address}, status ${answer.status}`;
  item.append(face, time);
  $('answers').prepend(item);

  while ($('answers').childElementCount > TILES) {
    const last = $('answers').lastElementChild;
    const picture = last.querySelector('img');
    if (picture) URL.revokeObjectURL(picture.src);
    last.remove();
  }
}

function showSummary() {
  const times = [...sent.times].sort((a, b) => a - b);
  const median = times.length ? `, half of the last ones within ${Math.round(times[times.length >> 1])} ms` : '';
  const open = sent.open ? `, ${sent.open} on the way` : '';

  put($('summary'), `${sent.answered} answered, ${sent.failed} failed${open}${median}`);
}

function keep() {
  const on = !keeping;

  clearInterval(keeping);
  keeping = on ? setInterval(() => sent.open < KEEP_OPEN && send(), KEEP_INTERVAL) : 0;
  $('keep').setAttribute('aria-pressed', String(on));
}


// What all clients get: figures of nginx, once a second.

async function ask(path, options) {
  const response = await fetch(path, { cache: 'no-store', ...options });
  const data = await response.json();
  if (!response.ok) throw new Error(typeof data.error === 'string' ? data.error : `${path}: status ${response.status}`);
  return data;
}

async function look() {
  try {
    const [group, status] = await Promise.all([ask('/api/9/http/upstreams/demo'), ask('/control/status')]);

    peers = group.peers;
    showStatus(status);
    remember();
    showServers();
    showPlot();
    trouble('');
  } catch {
    trouble('The demo does not answer. Has it been stopped?');
  }

  setTimeout(look, 1000);
}

function trouble(text) {
  put($('trouble'), text);
  $('trouble').hidden = !text;
}

function showStatus(status) {
  simulated = status.simulated;
  known.clear();
  for (const one of status.servers) known.set(one.address, one);

  put($('address'), `http://${status.address}/`);
  $('address').href = `http://${status.address}/`;
  put($('list'), status.list);
  put($('load'), status.rate ? `The demo sends ${status.rate} requests a second; add your own.`
    : 'The demo sends no requests by itself.');
}

function remember() {
  const at = performance.now();

  history.push({ at, requests: new Map(peers.map((peer) => [peer.server, peer.requests])) });
  while (history[0].at < at - (PLOT_SECONDS + 1) * 1000) history.shift();
}

// How many requests each server got between two looks; who is new began at 0.

function gained(from, to) {
  return new Map([...to.requests].map(([address, count]) => {
    const before = from.requests.get(address) ?? 0;
    return [address, count >= before ? count - before : count];
  }));
}

const total = (counts) => [...counts.values()].reduce((sum, count) => sum + count, 0);

function showServers() {
  const last = history.at(-1);
  const first = history.find((look) => look.at >= last.at - SHARE_SECONDS * 1000 - 500);
  const counts = gained(first, last);
  const all = total(counts) || 1;
  const seconds = (last.at - first.at) / 1000 || 1;

  for (const [address, row] of rows) {
    if (!last.requests.has(address)) {
      row.remove();
      rows.delete(address);
    }
  }

  for (const peer of peers) {
    const row = rows.get(peer.server) ?? addServer(peer.server);
    showServer(row, peer, counts.get(peer.server), all, seconds);
  }
}

function addServer(address) {
  const row = $('server').content.firstElementChild.cloneNode(true);

  row.dataset.server = address;
  rows.set(address, row);
  $('servers').append(row);
  return row;
}

function showServer(row, peer, count, all, seconds) {
  const part = (name) => row.querySelector(`.${name}`);
  const one = server(peer.server);
  const share = count / all;
  const state = one.state === 'stopped' && peer.state === 'up' ? 'stopped' : peer.state;

  part('mark').style.backgroundColor = part('bar').style.backgroundColor = colour(peer.server);
  put(part('name').firstElementChild, one.name);
  put(part('name').lastElementChild, peer.server);
  put(part('state'), state);
  part('state').classList.toggle('up', state === 'up');
  part('bar').style.width = `${(100 * share).toFixed(1)}%`;
  put(part('number'), `${Math.round(100 * share)} %`);
  put(part('detail'), `${(count / seconds).toFixed(1)}/s, ${peer.active} in flight${
    peer.response_time === undefined ? '' : `, ${peer.response_time} ms`}`);

  part('buttons').hidden = !one.name;
  if (one.name) showButtons(row, one);
}

function showButtons(row, one) {
  const [pace, power] = row.querySelectorAll('button');
  const stopped = one.state === 'stopped';
  const slow = !stopped && one.slow > 1;

  pace.dataset.do = slow ? 'normal' : 'slow';
  pace.disabled = stopped;
  pace.setAttribute('aria-pressed', String(slow));
  pace.setAttribute('aria-label', `${one.name}: 20 times as slow`);
  power.dataset.do = stopped ? 'start' : 'stop';
  put(power, stopped ? 'Start' : 'Stop');
  power.setAttribute('aria-label', `${stopped ? 'Start' : 'Stop'} ${one.name}`);
}

async function command(button) {
  const address = button.closest('li').dataset.server;
  const query = new URLSearchParams({ address, do: button.dataset.do });

  try {
    showStatus(await ask(`/control/server?${query}`, { method: 'POST' }));
    showServers();
  } catch (error) {
    trouble(error.message);
  }
}


// Bands of the servers, one above the other, from the left to now.

function showPlot() {
  const plot = $('shares');
  const addresses = [...rows.keys()];
  const bands = addresses.map(() => ({ upper: [], lower: [] }));
  const last = history.at(-1).at;

  history.slice(1).forEach((look, index) => {
    const counts = gained(history[index], look);
    const all = total(counts);
    const x = (600 * (1 - (last - look.at) / 1000 / PLOT_SECONDS)).toFixed(1);
    let y = 100;

    if (!all) return;

    addresses.forEach((address, band) => {
      bands[band].lower.push(`${x},${y.toFixed(1)}`);
      y -= 100 * (counts.get(address) ?? 0) / all;
      bands[band].upper.unshift(`${x},${y.toFixed(1)}`);
    });
  });

  while (plot.childElementCount > addresses.length) plot.lastElementChild.remove();
  while (plot.childElementCount < addresses.length) plot.append(document.createElementNS(SVG, 'polygon'));

  bands.forEach(({ lower, upper }, band) => {
    plot.children[band].setAttribute('points', [...lower, ...upper].join(' '));
    plot.children[band].setAttribute('fill', colour(addresses[band]));
  });
}


document.addEventListener('click', (event) => {
  const button = event.target.closest('button');

  if (button?.dataset.count) {
    for (let n = Number(button.dataset.count); n > 0; n--) send();
  } else if (button?.id === 'keep') {
    keep();
  } else if (button) {
    command(button);
  }
});

look();
