// What the page says of that which is not well, and that it has the room.

import { action, column, dialog, openServer, press, row, rows } from './page.mjs';

const HEIGHT = 2000;                // all rows are in sight, and so there

export default async function problems(t) {
  const page = await t.open('/dashboard', { height: HEIGHT });

  await t.becomes(() => rows(page).count(), 14, 'all servers are there');
  await leftOut(t, page);
  await outOfUse(t, page);
  await panic(t, page);
  await room(t, page);
}

const choose = (page, group) => page.locator('.card b', { hasText: new RegExp(`^${group}$`) }).click();

// The sentence about a server, as soon as it is as it should be.

async function why(t, page, group, address, wanted, name) {
  const text = () => page.locator('#drawer h3 + p').first().textContent();

  await choose(page, group);
  await t.becomes(async () => (await column(page, 'group')).every((one) => one === group), true, `servers of ${group}`);
  await openServer(page, address);
  await t.until(async () => wanted.test(await text()));
  t.like(await text(), wanted, name);
  await page.keyboard.press('Escape');
  await choose(page, 'All groups');
}

// A check that lacks something since a reload.

async function leftOut(t, page) {
  const text = 'check 1 is left out: there is no "lrt_match ok"';
  const alerts = page.locator('#alerts li');

  t.like((await alerts.allTextContents()).join('\n'), new RegExp(`^lost: ${text}$`, 'm'), 'a check that is left out is a problem');
  const servers = (await column(page, 'state')).filter((state) => state === 'unhealthy' || state === 'checking').length;
  t.is(parseInt(await page.locator('#summary').textContent(), 10), servers + await alerts.count(), 'that counts');
  t.like(await page.title(), new RegExp(`^\\(${servers + await alerts.count()}\\) `), 'in the title as well');
  t.like(await page.locator('.card', { hasText: /^lost/ }).getAttribute('class'), /\bwarn\b/, 'and for its group');
  await choose(page, 'lost');
  await openServer(page, t.settings.a);
  t.like(await page.locator('#drawer').innerText(), /left out: there is no "lrt_match ok"/, 'a server of the group tells, too');
  await page.keyboard.press('Escape');
  await choose(page, 'All groups');
}

async function outOfUse(t, page) {
  const { settings: { a, dead } } = t;
  const refused = /^It takes no requests now: connection refused\.$/;

  await why(t, page, 'ranked', dead, refused, 'the only server of a method with scores, out of use');
  await why(t, page, 'flat', dead, refused, 'one of a method without');
  await why(t, page, 'flat', a, /^It takes no requests now: set down\.$/, 'and one that is set down');
}

// Health is ignored, what an operator wants is not.

async function panic(t, page) {
  const { settings: { a, b, d, dead } } = t;
  const ignored = String.raw`^In a panic health is ignored, so it takes requests, although it is unhealthy \(unexpected status 503\)\. `;

  await why(t, page, 'ranked_panic', d, new RegExp(`${ignored}(Its score is|1 server of 2 is better)`), 'in a panic, with scores');
  await why(t, page, 'flat_panic', d, new RegExp(`${ignored}round_robin_ext does not compare servers\\. This one should get 50 %`), 'and without');
  await why(t, page, 'flat_panic', a, /^round_robin_ext does not compare servers\. This one should get 50 % of the requests\.$/, 'one that is well');
  await why(t, page, 'backed', b, /^As a backup it takes requests when no primary can\. (Its score is|1 server of 2 is better)/, 'a backup');
  await why(t, page, 'backed', d, /^In a panic health is ignored, so it takes requests when no primary can, although it is unhealthy/,
    'and one in a panic');
  await why(t, page, 'flat_panic', dead, /^It takes no requests now: set down\.$/, 'but not one that is set down');
}

// Names of 255 characters, a path of 300.

async function room(t, page) {
  const { settings: { a, name, path } } = t;
  const excess = (id) => page.evaluate((wanted) => {
    const element = wanted ? document.getElementById(wanted) : document.documentElement;
    return Math.max(0, element.scrollWidth - element.clientWidth);
  }, id);

  for (const width of [1920, 1024, 320]) {
    await page.setViewportSize({ width, height: HEIGHT });
    if (await page.locator('#plots').getAttribute('aria-expanded') === 'false') await page.locator('#plots').click();
    t.like(await page.locator('#legend').textContent(), new RegExp(name), `a long name in the legend at ${width}`);
    await t.becomes(() => excess(), 0, `no scrolling sideways at ${width}`);

    await choose(page, name);
    await row(page, a).first().click();
    await t.until(async () => (await page.locator('#drawer').innerText()).includes(path));
    t.ok((await page.locator('#drawer').innerText()).includes(path), 'a long path in the drawer');
    t.is([await excess('drawer'), await excess()], [0, 0], 'nothing of it is cut off');
    await t.shot(page, `long-${width}`);
    await action(page, 'Drain');
    t.like(await dialog(page), new RegExp(name), 'a long name in a dialog');
    t.is(await excess('dialog'), 0, 'nor there');
    await press(page, 'Cancel');
    await page.keyboard.press('Escape');
    await choose(page, 'All groups');
  }
}
