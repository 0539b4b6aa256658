// The pages in headless Chromium: opened, photographed, and held to what docs/testing.md says of them.
// Usage: node check.mjs PLAN.json, where the plan is written by page_test.sh.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const faults = [];
const counts = { looks: 0, pictures: 0, requests: 0 };

const fault = (where, what) => faults.push(`${where}: ${what}`);
const holds = (where, what, is) => is || fault(where, what);

/// Narrowest first: a small phone, and a desktop.
const LOOKS = ['light', 'dark'].flatMap((scheme) => [
  { scheme, width: 320, text: 100 },
  { scheme, width: 320, text: 200 },
  { scheme, width: 1280, text: 100 },
]);

/// Runs in the page: what is cut, what sticks out, and what stands one letter per line.
function misplaced() {
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} px wide, the window ${innerWidth}`);
  const name = (element) => `<${element.localName}> "${element.textContent.trim().slice(0, 40)}"`;
  for (const element of document.body.querySelectorAll('*')) {
    const { left, right, width, height } = element.getBoundingClientRect();
    if (width === 0 || height === 0) continue;
    if (left < -0.5 || right > innerWidth + 0.5) found.push(`${name(element)} sticks out: ${left} to ${right}`);
    if (element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1) found.push(`${name(element)} is cut`);
    if (element.localName !== 'textarea' && element.clientHeight > 0 && getComputedStyle(element).overflowY !== 'visible'
      && element.scrollHeight > element.clientHeight + 1) found.push(`${name(element)} is cut at the bottom`);
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim();
    const range = document.createRange();
    range.selectNodeContents(node);
    const lines = new Set([...range.getClientRects()].filter((box) => box.width > 0).map((box) => Math.round(box.top)));
    if (lines.size > 1 && text.length / lines.size < 4) {
      found.push(`"${text.slice(0, 40)}" stands in ${lines.size} lines of ${(text.length / lines.size).toFixed(1)} letters`);
    }
  }
  return found;
}

/// Runs in the page, after axe: its violations, with 4.5:1 for text of every size, and contrasts that it could not tell.
async function violations() {
  const options = {
    ignoreUnicode: true, ignoreLength: false, ignorePseudo: false, boldValue: 700, boldTextPt: 10_000, largeTextPt: 10_000,
    contrastRatio: { normal: { expected: 4.5 }, large: { expected: 4.5 } },
    pseudoSizeThreshold: 0.25, shadowOutlineEmMax: 0.2, textStrokeEmMin: 0.03,
  };
  globalThis.axe.configure({ checks: [{ id: 'color-contrast', options }] });
  const results = await globalThis.axe.run(document);
  const untold = results.incomplete.filter((rule) => rule.id === 'color-contrast');
  const checked = results.passes.find((rule) => rule.id === 'color-contrast')?.nodes ?? [];
  const ratios = checked.flatMap((node) => node.any).map((check) => check.data?.contrastRatio).filter(Boolean);
  return {
    lowest: Math.min(...ratios),
    found: [...results.violations, ...untold].flatMap((rule) =>
      rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 80)}: ${node.any[0]?.message ?? rule.help}`)),
  };
}

async function pageOf(browser, address) {
  const context = await browser.newContext(address ? { extraHTTPHeaders: { 'X-Forwarded-For': address } } : {});
  return context.newPage();
}

/// Opens a page once, since each opening is a scan, and looks at it in every way.
async function look(browser, { name, path, text, without, status, address }) {
  const page = await pageOf(browser, address);
  const answer = await page.goto(plan.scan + path);
  holds(name, `the status is ${answer.status()}, not ${status}`, answer.status() === status);
  const shown = await page.innerText('body');
  holds(name, `"${text}" is not on the page`, shown.includes(text));
  for (const word of without ?? []) holds(name, `"${word}" is on the page`, !shown.includes(word));
  holds(name, 'the page holds a script', (await page.locator('script').count()) === 0);
  holds(name, 'the page has no title', (await page.title()) !== '');
  await page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)));
  let lowest = Infinity;
  for (const { scheme, width, text } of LOOKS) {
    const where = `${name}, ${width} px, ${text} % text, ${scheme}`;
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 800 });
    await page.evaluate((size) => (document.documentElement.style.fontSize = `${size}%`), text);
    for (const what of await page.evaluate(misplaced)) fault(where, what);
    await page.evaluate(axe);
    const judged = await page.evaluate(violations);
    for (const what of judged.found) fault(where, what);
    lowest = Math.min(lowest, judged.lowest);
    await page.screenshot({ path: `${plan.pictures}/${name}.${width}.${text}.${scheme}.png`, fullPage: true });
    counts.looks += 1;
    counts.pictures += 1;
  }
  console.log(`  ${name}: "${text}", lowest contrast ${lowest}`);
  await page.context().close();
}

/// A refusal that asks for patience leads back to where it was met.
async function retry(browser, { name, path, address }) {
  const page = await pageOf(browser, address);
  await page.goto(plan.scan + path);
  await Promise.all([page.waitForNavigation(), page.click('a.button')]);
  holds(name, `"Try again" leads to ${page.url()}`, page.url() === plan.scan + path);
  await page.context().close();
}

/// Sends the form of the page as a person does.
async function ownForm(browser, name, path, words) {
  const page = await pageOf(browser, '192.0.2.81');
  await page.goto(plan.scan + path);
  await page.click('summary');
  await page.check('input[value=counterfeit]');
  await page.fill('textarea', 'The cap is loose.\nSecond line.');
  const [answer] = await Promise.all([page.waitForNavigation(), page.click('button')]);
  holds(name, `our own form is answered ${answer.status()}`, answer.status() === 202);
  const { referer, origin, 'sec-fetch-site': site } = await answer.request().allHeaders();
  holds(name, `the browser sends Sec-Fetch-Site: ${site}, Origin: ${origin}`, site === 'same-origin' && origin === plan.scan);
  holds(name, `the browser sends Referer: ${referer}`, referer === plan.scan + path);
  holds(name, `"${words}" is not on the page`, (await page.innerText('body')).includes(words));
  await page.screenshot({ path: `${plan.pictures}/${name}.png`, fullPage: true });
  counts.pictures += 1;
  console.log(`  ${name}: "${words}"`);
  await page.context().close();
}

async function scanCount() {
  const headers = { 'X-Forwarded-For': '192.0.2.82', 'User-Agent': 'Mozilla/5.0' };
  return (await (await fetch(`${plan.scan}/v1/scan/${plan.foreign.tag}`, { headers })).json()).scan_count;
}

/// Scans that were refused with 403: the browser does not show a page's scripts what became of a picture.
async function refusedRequests() {
  const metrics = await (await fetch(`${plan.scan}/metrics`)).text();
  const lines = metrics.split('\n').filter((line) => line.startsWith('voketag_http_requests_total{') && line.includes('"403"'));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

function serve(html, port) {
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html));
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}

/// Everything by which a page of another origin can make a browser fetch something.
async function foreignPage(browser) {
  const { tag, port, allowedPort } = plan.foreign;
  const target = `${plan.scan}/t/${tag}`;
  const html = `<!doctype html><img src="${target}"><img src="${plan.scan}/v1/scan/${tag}"><script src="${target}"></script>
    <link rel="stylesheet" href="${target}"><iframe src="${target}"></iframe><object data="${target}"></object><embed src="${target}">
    <video src="${target}"></video><img crossorigin src="${target}"><script type="module" src="${target}"></script>
    <link rel="prefetch" href="${target}"><form method="post" action="${target}/report"><input name="reason" value="other"><button>x</button></form>`;
  const servers = [await serve(html, port), await serve(html, allowedPort)];
  const [before, refusedBefore] = [await scanCount(), await refusedRequests()];
  // Without a header of ours, which the browser would ask for in each preflight.
  const page = await pageOf(browser);
  await page.goto(`http://localhost:${port}/`, { waitUntil: 'networkidle' });
  await page.evaluate((target) => fetch(target, { mode: 'no-cors' }), target);
  const socket = (target) => new Promise((done) => (new WebSocket(target.replace('http', 'ws')).onclose = done));
  await page.evaluate(socket, target);
  await page.evaluate((target) => new Promise((done) => (new EventSource(target).onerror = done)), target);
  counts.requests = (await refusedRequests()) - refusedBefore;
  holds('foreign page', `only ${counts.requests} requests were refused`, counts.requests >= 13);
  const [refused] = await Promise.all([page.waitForNavigation(), page.click('button')]);
  holds('foreign form', `it is answered ${refused.status()}`, refused.status() === 403);
  holds('foreign form', 'the page does not say why', (await page.innerText('h1')) === 'Not sent from here');
  await page.screenshot({ path: `${plan.pictures}/foreign_form.png`, fullPage: true });
  counts.pictures += 1;
  const report = (url) =>
    fetch(`${url.scan}/v1/report`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ tag_id: url.tag, reason: 'other' }),
    }).then((answer) => answer.status, () => 'blocked');
  const asked = { scan: plan.scan, tag };
  await page.goto(`http://localhost:${port}/`);
  const foreign = await page.evaluate(report, asked);
  holds('foreign report', `it ends with ${foreign}`, foreign === 'blocked');
  await page.goto(`http://localhost:${allowedPort}/`);
  const named = await page.evaluate(report, asked);
  holds('report of a named origin', `it ends with ${named}`, named === 202);
  const after = await scanCount();
  holds('foreign page', `the tag was counted ${after - before - 1} times by it`, after === before + 1);
  console.log(`  foreign page: ${counts.requests} requests refused, its form 403, its report ${foreign}; a named one ${named}`);
  await page.context().close();
  servers.forEach((server) => server.close());
}

const browser = await chromium.launch({
  executablePath: plan.browser,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update'],
});
try {
  for (const page of plan.pages) await look(browser, page);
  for (const page of plan.retries) await retry(browser, page);
  for (const { name, path, text } of plan.forms) await ownForm(browser, name, path, text);
  if (plan.foreign) await foreignPage(browser);
} finally {
  await browser.close();
}
faults.forEach((what) => console.error(`  FAULT ${what}`));
console.log(`  ${counts.looks} looks, ${counts.pictures} pictures, ${counts.requests} foreign requests, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;
