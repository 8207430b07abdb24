// The page of scripts/demo over servers of others: they are shown, and answer,
// but nothing can be done to them.

export default async function demoOwn({ ok, is, becomes, open, shot, settings }) {
  const page = await open('/');
  const rows = page.locator('#servers li');

  await becomes(() => rows.locator('code').allTextContents(), [settings.a, settings.b], 'servers of others are there');
  is(await page.locator('li .buttons:visible').count(), 0, 'without buttons');
  is(await page.locator('#load').textContent(), 'The demo sends no requests by itself.', 'and without a load');

  await page.getByRole('button', { name: '20', exact: true }).click();
  await becomes(() => page.locator('#answers .tile:not(.failed)').count(), 20, 'requests are answered');
  is(await page.locator('#answers img').count(), 0, 'who has no picture gets a tile');

  const servers = await page.locator('#answers li').evaluateAll((items) => items.map((item) => item.dataset.server));
  is([...new Set(servers)].sort(), [settings.a, settings.b].sort(), 'by both');
  const colours = await page.locator('.tile').evaluateAll((tiles) => tiles.map((tile) => tile.style.backgroundColor));
  ok(new Set(colours).size === 2, 'each in its colour', colours);
  await shot(page, 'demo-own');
}
