// Changes by the page, each of them asked for first.

import { action, changes, column, confirm, dialog, fill, openServer, press, refusal, row, rows, toast } from './page.mjs';

export default async function write(t) {
  const page = await t.open('/dashboard#group=shop');
  await t.becomes(() => rows(page).count(), 5, 'a group');

  await edits(t, page);
  await editsLate(t, page);
  await drains(t, page);
  await setsDown(t, page);
  await adds(t, page);
  await removes(t, page);
  await changesMethod(t, page);
  await probes(t, page);
  await otherNames(t, page);
}

const server = async (t, address, group = 'shop') =>
  (await t.api('GET', `/${encodeURIComponent(group)}/servers`)).data.find((one) => one.server === address);

async function edits(t, page) {
  const { settings: { a } } = t;

  await openServer(page, a);
  await action(page, 'Edit');
  await fill(page, 'weight', '0');
  await press(page, 'Review');
  t.is(await refusal(page), 'invalid value of "weight"', 'the API says what is wrong');
  await fill(page, 'fail_timeout', 'long');
  await fill(page, 'weight', '2');
  await press(page, 'Review');
  await t.becomes(() => refusal(page), 'invalid value of "fail_timeout"', 'of each member');
  await fill(page, 'fail_timeout', '10s');
  await press(page, 'Review');
  await t.becomes(() => refusal(page), 'nothing was changed', 'nothing to change');
  await fill(page, 'weight', '5');
  await fill(page, 'fail_timeout', '7s');
  await press(page, 'Review');
  await t.becomes(() => changes(page), ['weight: 2 → 5', 'fail_timeout: 10s → 7s'], 'what would change');
  t.is((await server(t, a)).weight, 2, 'it has not yet');
  await press(page, 'Cancel');
  t.is(await dialog(page), '', 'cancelled');
  t.is((await server(t, a)).weight, 2, 'nothing has changed');

  await action(page, 'Edit');
  await fill(page, 'weight', '5');
  await press(page, 'Review');
  await confirm(page, 'Apply');
  await t.becomes(() => toast(page), `${a} was changed`, 'applied');
  t.is((await server(t, a)).weight, 5, 'the API has it');
  await t.becomes(() => row(page, a).locator('.c-weight b').textContent(), '5', 'and the table');
}

// Somebody else changes the group while the form is open.

async function editsLate(t, page) {
  const { settings: { a, b } } = t;

  await action(page, 'Edit');
  await fill(page, 'weight', '9');
  await t.api('PATCH', `/shop/servers/${(await server(t, a)).id}`, { max_conns: 77 });
  await press(page, 'Review');
  await t.until(async () => await page.locator('#field-max_conns').inputValue() === '77');
  t.like(await refusal(page), /^the group has changed/, 'told that the group has changed');
  t.is(await page.locator('#field-max_conns').inputValue(), '77', 'the form has what it is now');
  await press(page, 'Cancel');
  t.is((await server(t, a)).weight, 5, 'nothing was overwritten');
  await t.api('PATCH', `/shop/servers/${(await server(t, a)).id}`, { max_conns: 0 });
  await page.keyboard.press('Escape');
  await openServer(page, b);
}

async function drains(t, page) {
  const { settings: { b } } = t;

  await action(page, 'Drain');
  t.like(await dialog(page), new RegExp(`Drain: ${b} in shop\\?[^]*gets no new requests[^]*can take requests without it`), 'asked first');
  await press(page, 'Cancel');
  t.is((await server(t, b)).drain, undefined, 'not without an answer');
  await action(page, 'Drain');
  await confirm(page, 'Drain');
  await t.becomes(async () => (await server(t, b)).drain, true, 'drains');
  await t.until(async () => /^drain/.test(await row(page, b).locator('.c-state b').textContent()));
  t.like(await row(page, b).locator('.c-state').textContent(), /^(drained|draining)/, 'and the table says so');
  await action(page, 'Stop draining');
  await confirm(page, 'Stop draining');
  await t.becomes(async () => (await server(t, b)).drain, undefined, 'no more');
}

async function setsDown(t, page) {
  const { settings: { b } } = t;

  await action(page, 'Set down');
  t.like(await dialog(page), /no health checks/, 'asked first');
  await confirm(page, 'Set down');
  await t.becomes(async () => (await server(t, b)).down, true, 'down');
  await action(page, 'Set up');
  await confirm(page, 'Set up');
  await t.becomes(async () => (await server(t, b)).down, false, 'up');
  await page.keyboard.press('Escape');
}

async function adds(t, page) {
  const { settings: { a } } = t;

  await page.locator('#add').click();
  await fill(page, 'server', 'no such host');
  await press(page, 'Review');
  t.ok((await refusal(page)).length > 5, 'a bad address is refused');
  t.diag(await refusal(page));
  await fill(page, 'server', a);
  await press(page, 'Review');
  await t.until(async () => /already|exists/.test(await refusal(page)));
  t.like(await refusal(page), /already|exists/, 'one that is there, too');
  await fill(page, 'server', '127.0.0.9:7');
  await fill(page, 'weight', '3');
  await page.locator('#field-backup').check();
  await press(page, 'Review');
  await t.becomes(async () => (await changes(page)).slice(0, 3), ['server: 127.0.0.9:7', 'backup: true', 'weight: 3'], 'what would be added');
  t.is(await server(t, '127.0.0.9:7'), undefined, 'it is not there yet');
  await confirm(page, 'Apply');
  await t.becomes(() => row(page, '127.0.0.9:7').count(), 1, 'added');
  t.is(((one) => [one.weight, one.backup])(await server(t, '127.0.0.9:7')), [3, true], 'as it was said');
}

async function removes(t, page) {
  await openServer(page, '127.0.0.9:7');
  await action(page, 'Remove');
  t.like(await dialog(page), /Remove 127\.0\.0\.9:7 from shop\?/, 'asked first');
  await fill(page, 'time', 'soon');
  await press(page, 'Remove');
  t.like(await refusal(page), /drain|time/, 'a bad time is refused');
  await fill(page, 'time', '5s');
  await confirm(page, 'Remove');
  await t.becomes(() => server(t, '127.0.0.9:7'), undefined, 'removed');
  await t.becomes(() => row(page, '127.0.0.9:7').count(), 0, 'from the table as well');
  t.ok(await page.locator('#drawer').isHidden(), 'there is nothing left to show of it');
}

async function changesMethod(t, page) {
  const method = async () => (await t.api('GET', '/shop?fields=lrt')).data.lrt.method;

  await page.locator('#settings').click();
  await page.locator('#field-method').selectOption('iphash_ext');
  await press(page, 'Review');
  t.like(await refusal(page), /no backup servers, remove them first/, 'a method without backups is refused');
  await page.locator('#field-method').selectOption('least_conn_ext');
  await fill(page, 'panic', '30%');
  await press(page, 'Review');
  await t.becomes(() => changes(page), ['method: least_time last_byte → least_conn_ext', 'panic: off → 30%'], 'what would change');
  t.is(await method(), 'least_time last_byte', 'it has not yet');
  await confirm(page, 'Apply');
  await t.becomes(method, 'least_conn_ext', 'the method has changed');
  await t.until(async () => /least_conn_ext/.test(await page.locator('#panel-facts').textContent()));
  t.like(await page.locator('#panel-facts').textContent(), /least_conn_ext.*panic below 30%/, 'the page shows it');
}

async function probes(t, page) {
  const { settings: { d } } = t;

  await openServer(page, d);
  await action(page, 'Probe now');
  await t.becomes(() => toast(page), `${d}: unexpected status 503`, 'a probe at once');
  await action(page, 'Reset counters');
  await confirm(page, 'Reset');
  await t.becomes(() => toast(page), `counters of ${d} are 0`, 'counters at 0');
  await page.keyboard.press('Escape');
}

async function otherNames(t, page) {
  const { settings: { e } } = t;
  const group = 'Größe-日本';

  await page.locator('.card', { hasText: group }).click();
  await openServer(page, e);
  await action(page, 'Edit');
  await fill(page, 'weight', '4');
  await press(page, 'Review');
  await confirm(page, 'Apply');
  await t.becomes(async () => (await server(t, e, group)).weight, 4, 'a group whose name is not ASCII');
  await t.becomes(() => column(page, 'weight'), ['1', '4'], 'in the table as well');
  await page.keyboard.press('Escape');
}
