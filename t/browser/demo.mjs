// The page of scripts/demo: requests, who answers them, and what happens when a
// server is slow or stopped.

const answers = (page) => page.locator('#answers li').evaluateAll((items) => items.map((item) => ({
  server: item.dataset.server, status: item.dataset.status, picture: item.querySelector('img')?.naturalWidth > 0,
  name: item.querySelector('img')?.alt })));

const rows = (page) => page.locator('#servers li').evaluateAll((items) => items.map((item) => ({
  address: item.dataset.server, name: item.querySelector('b').textContent,
  state: item.querySelector('.state').textContent, share: parseFloat(item.querySelector('.number').textContent) })));

const row = (page, address) => page.locator(`#servers li[data-server="${address}"]`);

const press = (page, address, name) => row(page, address).getByRole('button', { name }).click();

// The colour of the first picture, near its upper edge.

const corner = (page) => page.locator('#answers img').first().evaluate((image) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 96, height: 96 });
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0, 96, 96);
  return `rgb(${[...context.getImageData(48, 5, 1, 1).data].slice(0, 3).join(', ')})`;
});

const widest = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

export default async function demo({ ok, is, like, until, becomes, open, shot, sleep }) {
  const page = await open('/');

  await becomes(async () => (await rows(page)).map(({ name, state }) => `${name} ${state}`),
    ['red up', 'green up', 'blue up', 'orange up'], 'all servers are there');
  like(await page.locator('#load').textContent(), /50 requests a second/, 'and the load is named');

  // one, and many

  await page.getByRole('button', { name: 'Send 1', exact: true }).click();
  await until(async () => (await answers(page))[0]?.picture);
  const [first] = await answers(page);
  is((await answers(page)).length, 1, 'one request, one answer');
  is([first?.status, first?.picture], ['200', true], 'with a picture');
  is(first?.name, (await rows(page)).find(({ address }) => address === first?.server)?.name, 'of the server that answered');

  const mark = await row(page, first?.server).locator('.mark').evaluate((element) => getComputedStyle(element).backgroundColor);
  is(await corner(page), mark, 'in its colour');

  await page.getByRole('button', { name: '20', exact: true }).click();
  await page.getByRole('button', { name: '200 at once' }).click();
  await becomes(() => page.locator('#summary').textContent().then((text) => /^\d+ answered, \d+ failed(?=, h)/.exec(text)?.[0]),
    '221 answered, 0 failed', 'a burst is answered', 20);
  const burst = await answers(page);
  is(burst.length, 100, 'the last ones are shown');
  ok(burst.every(({ picture }) => picture), 'all with pictures');

  // of six at a time, which is what a browser sends, the slowest one need not have any

  const names = new Set(burst.map(({ name }) => name));
  ok(['blue', 'green', 'red'].every((name) => names.has(name)), 'of several servers');

  // by keyboard, without an end

  await page.getByRole('button', { name: 'Keep sending' }).focus();
  await page.keyboard.press('Enter');
  await until(async () => /^2[3-9]\d answered/.test(await page.locator('#summary').textContent()));
  is(await page.locator('#keep').getAttribute('aria-pressed'), 'true', 'requests are kept up');

  // a slow server, and one that is stopped

  await until(async () => (await rows(page)).some(({ share }) => share > 25));
  const [slow, gone] = (await rows(page)).sort((a, b) => b.share - a.share);

  await press(page, slow.address, `${slow.name}: 20 times as slow`);
  const share = () => rows(page).then((all) => all.find(({ address }) => address === slow.address).share);
  ok(await until(async () => await share() < slow.share / 4, 20),
    `the share of ${slow.name} fell from ${slow.share} % to ${await share()} %`);

  await press(page, gone.address, `Stop ${gone.name}`);
  await becomes(async () => (await rows(page)).find(({ address }) => address === gone.address).state,
    'unhealthy', 'a stopped server is found', 10);
  await sleep(500);
  ok((await answers(page)).every(({ status }) => status === '200'), 'and no request has failed');

  await shot(page, 'demo');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot(page, 'demo-dark');
  is(await widest(page), 0, 'nothing is wider than the page');

  await press(page, slow.address, `${slow.name}: 20 times as slow`);
  await press(page, gone.address, `Start ${gone.name}`);
  await becomes(async () => (await rows(page)).map(({ state }) => state), ['up', 'up', 'up', 'up'], 'all are back', 10);
  ok(await until(async () => (await rows(page)).find(({ address }) => address === gone.address).share > 3, 15),
    'with a share for the one that was stopped');
  await page.getByRole('button', { name: 'Keep sending' }).click();
  is(await page.locator('#keep').getAttribute('aria-pressed'), 'false', 'no more requests');

  // on a phone

  const phone = await open('/', { width: 390, height: 844, scheme: 'dark' });
  await phone.getByRole('button', { name: '20', exact: true }).click();
  await becomes(async () => (await answers(phone)).length, 20, 'on a phone');
  await until(async () => (await rows(phone)).length === 4);
  await sleep(2500);
  is(await widest(phone), 0, 'it is as wide as the phone');
  await shot(phone, 'demo-phone');
  await phone.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await shot(phone, 'demo-phone-end');
}
