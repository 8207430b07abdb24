// Runs the files that are named in one browser, and prints TAP.  The parts of
// the test that only its parent can do are asked for by a line "do WORD", and
// are done when there is a file of that name.
//
//     node run.mjs '{"dir": ..., "chromium": ..., "port": ...}' read write ...

import { access, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

const settings = JSON.parse(process.argv[2]);
const factor = Number(process.env.LRT_TIMEOUT_FACTOR || 1);

let count = 0;
let asked = 0;
const troubles = [];

function ok(passed, name, ...diagnosis) {
  process.stdout.write(`${passed ? 'ok' : 'not ok'} ${++count} - ${name}\n`);
  if (!passed) diag(...diagnosis);
  return Boolean(passed);
}

function diag(...lines) {
  for (const line of lines) {
    const text = typeof line === 'string' ? line : JSON.stringify(line, null, 1);
    process.stdout.write(`# ${text.replaceAll('\n', '\n# ')}\n`);
  }
}

function is(got, wanted, name) {
  return ok(JSON.stringify(got) === JSON.stringify(wanted), name, 'got:', got ?? 'undefined', 'wanted:', wanted);
}

function like(got, pattern, name) {
  return ok(pattern.test(got), name, `got: ${got}`, `wanted: ${pattern}`);
}

// The value as soon as it is true, or the last one.

async function until(what, seconds = 8) {
  const end = Date.now() + seconds * 1000 * factor;
  for (;;) {
    const value = await what();
    if (value || Date.now() > end) return value;
    await sleep(30);
  }
}

async function becomes(what, wanted, name, seconds) {
  let got;
  await until(async () => JSON.stringify(got = await what()) === JSON.stringify(wanted), seconds);
  return is(got, wanted, name);
}

async function parent(word) {
  const file = `${settings.dir}/done-${++asked}`;
  process.stdout.write(`do ${word}\n`);
  await until(() => access(file).then(() => true, () => false), 30);
}

const context = await chromium.launchPersistentContext(`${settings.dir}/chromium`, {
  executablePath: settings.chromium, args: FLAGS, headless: true, chromiumSandbox: false,
  viewport: { width: 1280, height: 900 },
});

context.setDefaultTimeout(8000 * factor);

// A page, watched: an error in it, and what its policy forbids, is a failure.

async function open(path, { width = 1280, height = 900, scheme = 'light' } = {}) {
  const page = await context.newPage();
  page.on('pageerror', (error) => troubles.push(error.stack));
  page.on('console', (message) => {
    const text = message.text();
    if (/Content.Security.Policy|Trusted ?Type|Refused to/i.test(text) || (message.type() === 'error' && !/status of \d/.test(text)
        && !/net::ERR_/.test(text))) {
      troubles.push(`${message.type()}: ${text}`);
    }
  });
  page.on('request', (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|data:|blob:http:\/\/127\.0\.0\.1:)/.test(request.url())) troubles.push(`asks ${request.url()}`);
  });
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: scheme });
  await page.goto(`http://127.0.0.1:${settings.port}${path}`);
  return page;
}

async function shot(page, name) {
  const picture = await page.screenshot();
  await writeFile(`${settings.shots || settings.dir}/${name}.png`, picture);
  return { width: picture.readUInt32BE(16), height: picture.readUInt32BE(20), bytes: picture.length };
}

// The API, without the page in between.

async function api(method, path, body) {
  const response = await fetch(`http://127.0.0.1:${settings.port}/api/9/http/upstreams${path}`,
    { method, body: body && JSON.stringify(body) });
  return { status: response.status, data: await response.json().catch(() => null) };
}

const kit = { ok, is, like, until, becomes, diag, open, shot, api, parent, sleep, settings };

for (const name of process.argv.slice(3)) {
  const part = await import(`./${name}.mjs`);
  diag(`--- ${name}`);
  const began = Date.now();
  await part.default(kit).catch((error) => ok(false, `${name} runs to its end`, error.stack));
  diag(`${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
  await Promise.all(context.pages().slice(1).map((page) => page.close()));
}

ok(troubles.length === 0, 'no errors in pages, nothing that their policy forbids, no other hosts', ...troubles);
await context.close();
process.stdout.write(`1..${count}\n`);
