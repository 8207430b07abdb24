// What the page shows to those who only look.

import { chip, column, openServer, row, rowAt, rows, table } from './page.mjs';

export default async function read(t) {
  const page = await t.open('/dashboard');

  await shows(t, page);
  await updates(t, page);
  await sorts(t, page);
  await filters(t, page);
  await namesAreText(t, page);
  await keys(t, page);
  await plots(t, page);
  await drawer(t, page);
  await looks(t, page);
  await polls(t, page);
  await readOnly(t);
}

async function shows(t, page) {
  const { settings: { a, d, dead } } = t;

  await t.becomes(() => rows(page).count(), 10, 'all servers are there');
  await t.becomes(async () => (await table(page)).slice(0, 2).map((one) => one.server.main).sort(), [d, dead].sort(),
    'those with problems come first');

  const first = Object.fromEntries((await table(page)).map((one) => [one.server.main, one]));
  t.is(first[d].state.main, 'unhealthy', 'a state');
  t.like(first[d].state.sub, /^\d+ s · unexpected status 503$/, 'since when and why');
  t.like(first[d].check.sub, /^\d+ s ago · [\d.]+ [mµ]?s$/, 'age and duration of the last check');
  t.is(first[a].check.main, 'passed 200', 'what a check that passed says');
  t.is(first[a].weight.main, '2', 'the weight');
  t.like(first[a].p50.main, /^[\d.]+ [mµ]?s$/, 'a quantile');
  t.like(first[a].p95.title, /^[\d,]+ µs of [\d,]+ responses/, 'exact on hover');
  t.like(first[a].rate.title, /^[\d,]+ requests? so far$/, 'requests, exact on hover');
  t.like(first[a].estimate.sub, /^score /, 'the score');
  t.like(await page.title(), /^\(\d+\) /, 'the title has the number of problems');
  t.like(await page.locator('#icon').getAttribute('href'), /^data:image\/png;base64,/, 'so has the icon');
  t.like(await page.locator('#summary').textContent(), /^\d+ problems?$/, 'and the top');
  t.like(await page.locator('#alerts').textContent(), /lonely: no server can take requests/, 'a group without any server to ask');
  t.is(await page.locator('#mode').textContent(), '', 'writing is permitted');
}

async function updates(t, page) {
  const requests = async () => (await table(page)).reduce((n, one) => n + Number(one.rate.title.replace(/\D/g, '')), 0);
  const before = await requests();

  t.ok(await t.until(async () => await requests() > before), 'figures follow');
  t.ok(await t.until(async () => (await column(page, 'rate')).some((rate) => Number(rate) > 5)), 'requests a second');
  t.ok(await t.until(async () => (await column(page, 'share')).some((share) => parseFloat(share) > 0)), 'shares');
  t.like(await page.locator('#age').textContent(), /^(now|\d+ s old)$/, 'the age of the data');

  await page.locator('#pause').click();
  t.ok(await t.until(async () => (await page.locator('#age').textContent()).startsWith('paused')), 'paused');
  await page.locator('#pause').click();
}

async function sorts(t, page) {
  const heading = page.locator('.head .c-weight');

  await heading.locator('button').click();
  const weights = (await column(page, 'weight')).map(Number);
  t.is(weights, [...weights].sort((a, b) => b - a), 'by weight, the largest first');
  t.is(await heading.getAttribute('aria-sort'), 'descending', 'and it says so');
  await heading.locator('button').click();
  t.is((await column(page, 'weight')).map(Number), [...weights].sort((a, b) => a - b), 'turned round');

  for (const name of ['state', 'server', 'group', 'rate', 'share', 'active', 'p50', 'p95', 'p99', 'estimate', 'errors', 'check']) {
    await page.locator(`.head .c-${name} button`).click();
    t.ok(await page.locator(`.head .c-${name}`).getAttribute('aria-sort'), `by ${name}`);
  }
  t.like(page.url(), /sort=check/, 'the address says so');
  await page.locator('.head .c-server button').click();
  const servers = await column(page, 'server');
  t.is(servers, [...servers].sort(), 'by server');
  await page.locator('.head .c-state button').click();
}

async function filters(t, page) {
  await chip(page, 'problems').click();
  t.is((await column(page, 'state')).filter((state) => state === 'up'), [], 'only problems');
  await chip(page, 'down').click();
  t.is(await column(page, 'state'), ['down', 'down'], 'by state');
  await chip(page, 'all').click();

  await page.locator('#search').fill('größe');
  t.is([...new Set(await column(page, 'group'))], ['Größe-日本'], 'a search by group');
  t.like(await page.locator('#count').textContent(), /^2 of 10 servers$/, 'how many there are');
  await page.reload();
  await t.becomes(() => column(page, 'group'), ['Größe-日本', 'Größe-日本'], 'it outlives a reload');
  await page.locator('#search').fill('nobody has this');
  t.is(await page.locator('#empty').textContent(), 'No server matches.', 'nothing found');
  await page.locator('#search').fill('');

  await page.locator('.card', { hasText: 'shop' }).click();
  t.is(await rows(page).count(), 5, 'the servers of a group');
  t.like(await page.locator('#panel-facts').textContent(), /least_time last_byte.*connections left.*room for \d+ more/, 'its method, what it can take');
  await page.locator('.card', { hasText: 'All groups' }).click();
}

// A group and a server have names that would be markup.

async function namesAreText(t, page) {
  const group = `<img src=x onerror=alert(1)>&lt;"'\\`;
  const server = `<b onclick=alert(2)>&amp;"'\\`;

  t.ok((await column(page, 'group')).includes(group), 'a hostile name of a group is text');
  t.ok((await column(page, 'server')).some((name) => name.endsWith(server)), 'and that of a server');
  await page.locator('.card', { hasText: group }).click();
  t.is(await page.locator('#panel-name').textContent(), group, 'as the title of the group');
  t.like(await page.locator('#legend').textContent(), /<b onclick/, 'in a legend');
  await rows(page).first().click();
  t.ok((await page.locator('#drawer-name').textContent()).includes(server), 'as the title of the server');
  t.is(await page.locator('main img, [onclick], [onerror], b b').count(), 0, 'none of it is an element');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
}

async function keys(t, page) {
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-rowindex'));

  await page.locator('body').press('/');
  t.is(await page.evaluate(() => document.activeElement.id), 'search', '/ leads to the search');
  await page.keyboard.type('shop');
  t.is(await rows(page).count(), 5, 'that searches');
  await page.keyboard.press('Escape');
  t.is(await rows(page).count(), 10, 'Escape ends it');

  await rowAt(page, 2).focus();
  await page.keyboard.press('ArrowDown');
  t.is(await focused(), '3', 'down');
  await page.keyboard.press('End');
  t.is(await focused(), '11', 'to the end');
  await page.keyboard.press('ArrowUp');
  t.is(await focused(), '10', 'up');
  await page.keyboard.press('Home');
  t.is(await focused(), '2', 'to the beginning');
  await page.keyboard.press('Enter');
  t.ok(await page.locator('#drawer').isVisible(), 'Enter opens');
  await t.sleep(1200);
  t.ok(await page.evaluate(() => document.activeElement.closest('#drawer')), 'and leads there, also after an update');
  await page.keyboard.press('Escape');
  t.ok(await page.locator('#drawer').isHidden(), 'Escape closes');
  t.is(await focused(), '2', 'and leads back');
  await page.keyboard.press('p');
  t.is(await chip(page, 'problems').getAttribute('aria-pressed'), 'true', 'p shows only problems');
  await page.keyboard.press('p');

  t.is(await page.evaluate(() => [...document.querySelectorAll('button, input, select, canvas')]
    .filter((one) => !(one.textContent.trim() || one.labels?.length || one.getAttribute('aria-label') || one.title)).map((one) => one.outerHTML)),
  [], 'all that can be used has a name');
}

async function plots(t, page) {
  const colours = (id) => page.evaluate((name) => {
    const canvas = document.getElementById(name);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const found = new Set();
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 250) found.add(`${data[i] >> 4},${data[i + 1] >> 4},${data[i + 2] >> 4}`);
    return found.size;
  }, id);

  await page.locator('.card', { hasText: 'shop' }).click();
  for (const id of ['plot-rate', 'plot-time', 'plot-share']) {
    t.ok(await t.until(async () => await colours(id) > 3), `${id} is drawn`);
    t.like(await page.locator(`#${id}`).getAttribute('aria-label'), /, the last \d+/, 'and described');
  }
  await page.locator('#plot-rate').hover({ position: { x: 380, y: 40 } });
  t.like(await page.locator('#tip').innerText(), /ago\s+127\.0\.0\.1:\d+/, 'exact values on hover');
  await page.mouse.move(5, 5);
  t.ok(await page.locator('#tip').isHidden(), 'no longer than that');
  await page.locator('.card', { hasText: 'All groups' }).click();
}

async function drawer(t, page) {
  const { settings: { a, d } } = t;

  await openServer(page, a);
  const text = await page.locator('#drawer').innerText();
  t.like(text, /Why this server/i, 'why this server');
  t.like(text, /score is the lowest|better placed/, 'in words');
  t.like(text, /p50\s+p90\s+p95\s+p99\s+p999\s+max\s+([\d.]+ [mµ]?s\s+){6}/, 'quantiles');
  t.like(text, /http \/health each 300ms/, 'what checks ask');
  t.like(text, /200: [\d,]+/, 'statuses');
  t.is(await page.locator('.hist i').count(), 15, 'the histogram');
  await page.keyboard.press('Escape');
  await openServer(page, d);
  t.like(await page.locator('#drawer').innerText(), /takes no requests now: unexpected status 503/, 'why not this one');
  await page.keyboard.press('Escape');
}

async function looks(t, page) {
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);

  t.is(await theme(), 'light', 'as the system has it');
  await page.emulateMedia({ colorScheme: 'dark' });
  await t.becomes(theme, 'dark', 'and follows it');
  const wide = await t.shot(page, 'dark-1280');
  t.is(wide.width, 1280, 'a picture');
  await page.emulateMedia({ colorScheme: 'light' });
  await t.shot(page, 'light-1280');
  await page.locator('#theme').click();
  t.is(await theme(), 'dark', 'dark by choice');
  await page.locator('#theme').click();
  t.is(await theme(), 'light', 'light by choice');
  await page.locator('#theme').click();

  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  for (const width of [1280, 1000, 700, 390]) {
    await page.setViewportSize({ width, height: 844 });
    await t.becomes(overflow, 0, `no scrolling sideways at ${width}`);
  }
  await t.shot(page, 'light-390');
  await page.locator('#sort').selectOption('server');
  const servers = await column(page, 'server');
  t.is(servers, [...servers].sort(), 'sorted on a phone');
  await page.locator('#sort').selectOption('state');
  await openServer(page, t.settings.d);
  t.is(await overflow(), 0, 'nor with a server open');
  await t.shot(page, 'light-390-server');
  await page.keyboard.press('Escape');
  await page.setViewportSize({ width: 1280, height: 900 });
}

// One request a second at most, and hardly any if nobody looks.

async function polls(t, page) {
  let requests = 0;
  page.on('request', () => requests++);

  await t.sleep(3000);
  t.ok(requests >= 1 && requests <= 4, 'about one request a second', `${requests} in 3 s`);

  await page.evaluate(() => Object.defineProperty(document, 'hidden', { configurable: true, get: () => true }));
  await t.sleep(1200);
  requests = 0;
  await t.sleep(2500);
  t.is(requests, 0, 'none while hidden');
  await page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  t.ok(await t.until(() => requests > 0, 2), 'again at once when seen');
}

async function readOnly(t) {
  const page = await t.open('/rodash');

  await t.becomes(() => page.locator('#mode').textContent(), 'read only', 'an API that is read only');
  await page.locator('.card', { hasText: 'shop' }).click();
  t.ok(await page.locator('#add').isHidden(), 'nothing to add');
  t.ok(await page.locator('#settings').isHidden(), 'no settings');
  await row(page, t.settings.a).click();
  t.is(await page.locator('.actions button').count(), 0, 'no actions');

  const locked = await t.open('/pwdash');
  await t.becomes(() => locked.locator('#mode').textContent(), 'writing needs a password', 'an API that asks writers for a password');
}
