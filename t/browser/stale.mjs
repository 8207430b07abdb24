// nginx goes away, and comes back.

import { rows } from './page.mjs';

export default async function stale(t) {
  const page = await t.open('/dashboard');
  const banner = page.locator('#banner');
  await t.becomes(() => rows(page).count(), 10, 'all is well');

  await t.parent('stop');
  await t.until(() => banner.isVisible(), 15);
  t.like(await banner.textContent(), /^No data from the API for \d+ s, what is below is old: no connection/, 'a banner');
  t.like(await page.locator('#age').textContent(), /^\d+ s old$/, 'the age');
  t.like(await page.title(), /!/, 'the title');
  t.is(await rows(page).count(), 10, 'what was known stays');
  await t.shot(page, 'stale');

  await t.parent('start');
  await banner.locator('button').click();
  t.ok(await t.until(() => banner.isHidden(), 20), 'all is well again');
}
