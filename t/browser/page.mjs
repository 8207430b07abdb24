// What tests look at in the page, and what they do there.

export const rows = (page) => page.locator('.row');

// The cells of the rows, from the top: { state, server, ... } with the main
// text of each, what is below it, and the title.

export const table = (page) => page.evaluate(() => [...document.querySelectorAll('.row')]
  .sort((a, b) => a.getAttribute('aria-rowindex') - b.getAttribute('aria-rowindex'))
  .map((row) => Object.fromEntries([...row.children].map((cell) => [/c-(\w+)/.exec(cell.className)[1],
    { main: cell.firstChild.textContent, sub: cell.lastChild.textContent, title: cell.title }]))));

export const rowAt = (page, index) => page.locator(`.row[aria-rowindex="${index}"]`);

export const column = async (page, name) => (await table(page)).map((row) => row[name].main);

export const row = (page, address) => rows(page).filter({ has: page.locator('.c-server b', { hasText: address }) });

export const chip = (page, name) => page.locator(`.chip[value=${name}]`);

export async function openServer(page, address) {
  await row(page, address).first().click();
  await page.locator('#drawer').waitFor();
}

export const action = (page, name) => page.locator('.actions button', { hasText: new RegExp(`^${name}$`) }).click();

export const press = (page, name) => page.locator('#dialog button', { hasText: new RegExp(`^${name}$`) }).click();

// The last button of a dialog, which closes when the change is made.

export async function confirm(page, name) {
  await press(page, name);
  await page.locator('#dialog').waitFor({ state: 'hidden' });
}

export const dialog = async (page) => (await page.locator('#dialog').isVisible()) ? page.locator('#dialog').innerText() : '';

export const refusal = (page) => page.locator('#dialog .error:not([hidden])').textContent();

export const changes = (page) => page.locator('#dialog .changes li').allTextContents();

export const toast = (page) => page.locator('#toast').textContent();

export const fill = (page, name, value) => page.locator(`#field-${name}`).fill(value);
