// A group of 5,000 servers.

import { column, rowAt, rows } from './page.mjs';

const SERVERS = 5000;

export default async function big(t) {
  const list = Array.from({ length: SERVERS }, (_, i) => ({ server: `127.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}:9`, weight: 1 + i % 7 }));
  t.is((await t.api('PUT', '/big/servers', list)).status, 200, `${SERVERS} servers`);

  const began = Date.now();
  const page = await t.open('/dashboard#group=big');
  await t.until(async () => await rows(page).count() > 5, 30);
  const shown = Date.now() - began;
  t.is(await page.locator('#grid').getAttribute('aria-rowcount'), String(SERVERS + 1), 'all are listed');
  t.ok(await rows(page).count() < 60, 'few of them are elements');

  const time = async (what) => {
    const start = Date.now();
    await what();
    return Date.now() - start;
  };

  const sorted = await time(() => page.locator('.head .c-weight button').click());
  t.is((await column(page, 'weight'))[0], '7', 'sorted');
  await page.locator('.head .c-server button').click();
  t.is((await column(page, 'server')).slice(0, 11).at(-1), '127.1.0.10:9', 'numbers in names by their value');
  const found = await time(async () => {
    await page.locator('#search').fill('127.1.19.135:9');
    await t.until(async () => await rows(page).count() === 1);
  });
  t.is(await column(page, 'server'), ['127.1.19.135:9'], 'one is found');
  await page.locator('#search').fill('');

  await rowAt(page, 2).focus();
  const ended = await time(() => page.keyboard.press('End'));
  t.is(await page.evaluate(() => document.activeElement.getAttribute('aria-rowindex')), String(SERVERS + 1), 'at the end by a key');
  await page.keyboard.press('Home');
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight / 2));
  t.ok(await t.until(async () => Number(await rows(page).first().getAttribute('aria-rowindex')) > 1000), 'rows follow the scrolling');

  t.diag(`shown after ${shown} ms, sorted in ${sorted} ms, found in ${found} ms, at the end in ${ended} ms`);
  t.ok(shown < 20000 && sorted < 5000 && found < 5000 && ended < 5000, 'in good time');
}
