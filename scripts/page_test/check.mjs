// Opens the pages in headless Chromium, takes screenshots, and checks them (see scripts/page_test.sh --help).
// Usage: node check.mjs PLAN.json; page_test.sh writes the plan.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const faults = [];
const counts = { views: 0, pictures: 0, requests: 0 };

const fault = (where, what) => faults.push(`${where}: ${what}`);
const expect = (where, what, holds) => holds || fault(where, what);

/// A small phone and a desktop, narrowest first.
const VIEWS = ['light', 'dark'].flatMap((scheme) => [
  { scheme, width: 320, text: 100 },
  { scheme, width: 320, text: 200 },
  { scheme, width: 1280, text: 100 },
]);

/// Runs in the page. Finds elements that are cut or overflow, and text squeezed into lines of a few letters.
function layoutFaults() {
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} px wide, the window ${innerWidth}`);
  const name = (element) => `<${element.localName}> "${element.textContent.trim().slice(0, 40)}"`;
  for (const element of document.body.querySelectorAll('*')) {
    const { left, right, width, height } = element.getBoundingClientRect();
    if (width === 0 || height === 0) continue;
    if (left < -0.5 || right > innerWidth + 0.5) {
      found.push(`${name(element)} overflows: ${left} to ${right}`);
    }
    if (element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1) {
      found.push(`${name(element)} is cut`);
    }
    const clips = element.localName !== 'textarea' && getComputedStyle(element).overflowY !== 'visible';
    if (clips && element.clientHeight > 0 && element.scrollHeight > element.clientHeight + 1) {
      found.push(`${name(element)} is cut at the bottom`);
    }
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim();
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
    const lines = new Set(boxes.map((box) => Math.round(box.top))).size;
    if (lines > 1 && text.length / lines < 4) {
      found.push(`"${text.slice(0, 40)}", ${text.length} letters, takes ${lines} lines`);
    }
  }
  return found;
}

/// Runs in the page, after axe. Returns its violations, the contrasts that it could not compute, and the
/// lowest contrast. The limit is 4.5:1 for text of every size.
async function violations() {
  const options = {
    ignoreUnicode: true, ignoreLength: false, ignorePseudo: false,
    boldValue: 700, boldTextPt: 10_000, largeTextPt: 10_000,
    contrastRatio: { normal: { expected: 4.5 }, large: { expected: 4.5 } },
    pseudoSizeThreshold: 0.25, shadowOutlineEmMax: 0.2, textStrokeEmMin: 0.03,
  };
  globalThis.axe.configure({ checks: [{ id: 'color-contrast', options }] });
  const results = await globalThis.axe.run(document);
  const unknown = results.incomplete.filter((rule) => rule.id === 'color-contrast');
  const checked = results.passes.find((rule) => rule.id === 'color-contrast')?.nodes ?? [];
  const checks = checked.flatMap((node) => node.any);
  const ratios = checks.map((check) => check.data?.contrastRatio).filter(Boolean);
  return {
    lowest: Math.min(...ratios),
    // axe cannot see what lies behind the text of an SVG. The legends of the charts have the same colour on
    // the same ground.
    found: [...results.violations, ...unknown].flatMap((rule) =>
      rule.nodes.filter(({ html }) => !html.startsWith('<text ')).map(({ html, any }) => `${rule.id}: ${html.slice(0, 80)}: ${any[0]?.message ?? rule.help}`)),
  };
}

async function pageOf(browser, address) {
  const options = address ? { extraHTTPHeaders: { 'X-Forwarded-For': address } } : {};
  const context = await browser.newContext(options);
  return context.newPage();
}

/// Opens a page once, because each request is a scan, and checks it in every view.
async function checkPage(browser, { name, path, text, without, status, address }) {
  const page = await pageOf(browser, address);
  const answer = await page.goto(plan.scan + path);
  expect(name, `the status is ${answer.status()}, not ${status}`, answer.status() === status);
  const shown = await page.innerText('body');
  expect(name, `"${text}" is not on the page`, shown.includes(text));
  for (const word of without ?? []) expect(name, `"${word}" is on the page`, !shown.includes(word));
  expect(name, 'the page holds a script', (await page.locator('script').count()) === 0);
  expect(name, 'the page has no title', (await page.title()) !== '');
  await page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)));
  let lowest = Infinity;
  for (const { scheme, width, text } of VIEWS) {
    const where = `${name}, ${width} px, ${text} % text, ${scheme}`;
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 800 });
    await page.evaluate((size) => (document.documentElement.style.fontSize = `${size}%`), text);
    for (const what of await page.evaluate(layoutFaults)) fault(where, what);
    await page.evaluate(axe);
    const judged = await page.evaluate(violations);
    for (const what of judged.found) fault(where, what);
    lowest = Math.min(lowest, judged.lowest);
    const file = `${name}.${width}.${text}.${scheme}.png`;
    await page.screenshot({ path: `${plan.pictures}/${file}`, fullPage: true });
    counts.views += 1;
    counts.pictures += 1;
  }
  console.log(`  ${name}: "${text}", lowest contrast ${lowest}`);
  await page.context().close();
}

/// "Try again" on a page of a temporary failure leads back to the same path.
async function retry(browser, { name, path, address }) {
  const page = await pageOf(browser, address);
  await page.goto(plan.scan + path);
  await Promise.all([page.waitForNavigation(), page.click('a.button')]);
  expect(name, `"Try again" leads to ${page.url()}`, page.url() === plan.scan + path);
  await page.context().close();
}

/// Submits the form of a page as a person does.
async function submitForm(browser, name, path, words) {
  const page = await pageOf(browser, '192.0.2.81');
  await page.goto(plan.scan + path);
  await page.click('summary');
  await page.check('input[value=counterfeit]');
  await page.fill('textarea', 'The cap is loose.\nSecond line.');
  const [answer] = await Promise.all([page.waitForNavigation(), page.click('button')]);
  expect(name, `our own form gets ${answer.status()}`, answer.status() === 202);
  const { referer, origin, 'sec-fetch-site': site } = await answer.request().allHeaders();
  const ours = site === 'same-origin' && origin === plan.scan;
  expect(name, `the browser sends Sec-Fetch-Site: ${site}, Origin: ${origin}`, ours);
  expect(name, `the browser sends Referer: ${referer}`, referer === plan.scan + path);
  expect(name, `"${words}" is not on the page`, (await page.innerText('body')).includes(words));
  await page.screenshot({ path: `${plan.pictures}/${name}.png`, fullPage: true });
  counts.pictures += 1;
  console.log(`  ${name}: "${words}"`);
  await page.context().close();
}

async function scanCount() {
  const headers = { 'X-Forwarded-For': '192.0.2.82', 'User-Agent': 'Mozilla/5.0' };
  return (await (await fetch(`${plan.scan}/v1/scan/${plan.foreign.tag}`, { headers })).json()).scan_count;
}

/// The number of responses with 403, from the metrics: a page's scripts cannot read the status of an image.
async function rejectedRequests() {
  const metrics = await (await fetch(`${plan.scan}/metrics`)).text();
  const requests = metrics.split('\n').filter((line) => line.startsWith('voketag_http_requests_total{'));
  const rejected = requests.filter((line) => line.includes('"403"'));
  return rejected.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

function serve(html, port) {
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html));
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}

/// Every way in which a page of another origin can make a browser send a request.
async function foreignPage(browser) {
  const { tag, port, allowedPort } = plan.foreign;
  const target = `${plan.scan}/t/${tag}`;
  const html = `<!doctype html><img src="${target}"><img src="${plan.scan}/v1/scan/${tag}">
    <script src="${target}"></script><link rel="stylesheet" href="${target}"><iframe src="${target}"></iframe>
    <object data="${target}"></object><embed src="${target}"><video src="${target}"></video>
    <img crossorigin src="${target}"><script type="module" src="${target}"></script>
    <link rel="prefetch" href="${target}"><form method="post" action="${target}/report">
    <input name="reason" value="other"><button>x</button></form>`;
  const servers = [await serve(html, port), await serve(html, allowedPort)];
  const [before, rejectedBefore] = [await scanCount(), await rejectedRequests()];
  // Without X-Forwarded-For: an extra header would turn each request into a preflight.
  const page = await pageOf(browser);
  await page.goto(`http://localhost:${port}/`, { waitUntil: 'networkidle' });
  await page.evaluate((target) => fetch(target, { mode: 'no-cors' }), target);
  const socket = (url) => new Promise((done) => (new WebSocket(url).onclose = done));
  await page.evaluate(socket, target.replace('http', 'ws'));
  await page.evaluate((target) => new Promise((done) => (new EventSource(target).onerror = done)), target);
  counts.requests = (await rejectedRequests()) - rejectedBefore;
  expect('foreign page', `only ${counts.requests} requests were rejected`, counts.requests >= 13);
  const [rejected] = await Promise.all([page.waitForNavigation(), page.click('button')]);
  expect('foreign form', `it gets ${rejected.status()}`, rejected.status() === 403);
  expect('foreign form', 'the page does not say why', (await page.innerText('h1')) === 'Not sent from here');
  await page.screenshot({ path: `${plan.pictures}/foreign_form.png`, fullPage: true });
  counts.pictures += 1;
  const report = (url) =>
    fetch(`${url.scan}/v1/report`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ tag_id: url.tag, reason: 'other' }),
    }).then((answer) => answer.status, () => 'blocked');
  const request = { scan: plan.scan, tag };
  await page.goto(`http://localhost:${port}/`);
  const foreign = await page.evaluate(report, request);
  expect('foreign report', `it ends with ${foreign}`, foreign === 'blocked');
  await page.goto(`http://localhost:${allowedPort}/`);
  const allowed = await page.evaluate(report, request);
  expect('report of an allowed origin', `it ends with ${allowed}`, allowed === 202);
  const after = await scanCount();
  expect('foreign page', `it counted ${after - before - 1} scans of the tag`, after === before + 1);
  console.log(`  foreign page: ${counts.requests} requests rejected, its form 403, its report ${foreign}`);
  console.log(`  allowed page: its report ${allowed}`);
  await page.context().close();
  servers.forEach((server) => server.close());
}

const browser = await chromium.launch({
  executablePath: plan.browser,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
  ],
});
try {
  for (const page of plan.pages) await checkPage(browser, page);
  for (const page of plan.retries) await retry(browser, page);
  for (const { name, path, text } of plan.forms) await submitForm(browser, name, path, text);
  if (plan.foreign) await foreignPage(browser);
} finally {
  await browser.close();
}
faults.forEach((what) => console.error(`  FAULT ${what}`));
const { views, pictures, requests } = counts;
console.log(`  ${views} views, ${pictures} screenshots, ${requests} rejected requests`);
console.log(`  ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;
