// Puts a Release button into MLflow's pages: beside "Promote model" on a version's page, and into a column of its own in a model's table of
// versions. Where MLflow's pages have no such place any more, a button in the corner stands in and the service is told.
//
// The button only asks. What is live, what may be done and by whom comes from the service, when it is pressed (dialog.js).
(() => {
  'use strict';

  const base = new URL('.', document.currentScript.src);
  const TAG = 'kmlflow-release';
  const CELL = 'data-kmlflow-cell';
  // `#/models/<name>` and `#/models/<name>/versions/<n>`, with a workspace behind `?` where the server has any.
  const ROUTE = /^#\/models\/([^/?]+)(?:\/versions\/(\d+))?\/?(?:\?(.*))?$/;
  const TABLE = '[data-testid="model-version-table"]';
  const MENU = '[data-testid="overflow-menu-trigger"]';
  // The slowest page seen took 3 s to show its table.
  const PATIENCE_MS = 6000;
  const COLUMN_STYLE = 'flex: 0 0 104px; position: sticky; right: 0; z-index: 1; display: flex; align-items: center';

  const STYLE = `
    :host { display: inline-flex; vertical-align: middle; --text: #0e538b; --line: #2272b4; --ground: #fff; --over: #e8f2fa }
    :host([data-theme=dark]) { --text: #8acaff; --line: #4299e0; --ground: #11171c; --over: #1d2b38 }
    :host([data-kind=corner]) { position: fixed; right: 16px; bottom: 80px; z-index: 2147483000 }
    button { font: 500 13px/18px system-ui, sans-serif; color: var(--text); background: var(--ground); border: 1px solid var(--line);
      border-radius: 4px; height: 32px; padding: 0 12px; cursor: pointer; white-space: nowrap }
    :host([data-kind=row]) button { height: 24px; padding: 0 8px; font-size: 12px }
    :host([data-kind=corner]) button { box-shadow: 0 2px 8px #0004 }
    /* On a small screen the column covers the one that names the version. */
    span { display: none }
    @media (max-width: 640px) { :host([data-kind=row]) span { display: inline } }
    button:hover { background: var(--over) }
    button:focus-visible { outline: 2px solid var(--line); outline-offset: 2px }`;

  class ReleaseButton extends HTMLElement {
    connectedCallback() {
      if (this.shadowRoot) return;
      const shadow = this.attachShadow({ mode: 'open' });
      const style = document.createElement('style');
      style.textContent = STYLE;
      const button = document.createElement('button');
      button.type = 'button';
      const { model, version } = this.dataset;
      const number = document.createElement('span');
      number.textContent = ` ${version}`;
      button.append('Release', number);
      button.setAttribute('aria-label', version ? `Release ${model} version ${version}` : `Release ${model}`);
      button.setAttribute('aria-haspopup', 'dialog');
      button.addEventListener('click', (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.press(button);
      });
      shadow.append(style, button);
    }

    async press(button) {
      button.disabled = true;
      try {
        const { open } = await import(new URL('dialog.js', base));
        await open({ base, model: this.dataset.model, version: this.dataset.version || null, isDark });
      } catch (error) {
        console.error('The release dialog could not be opened', error);
        button.textContent = 'Release: reload the page';
      } finally {
        button.disabled = false;
        button.focus();
      }
    }
  }
  customElements.define(TAG, ReleaseButton);

  // What the address says: a model, perhaps a version; null anywhere else, and in a workspace, whose models have names of their own.
  function route() {
    const match = ROUTE.exec(location.hash);
    if (!match) return null;
    const workspace = new URLSearchParams(match[3] || '').get('workspace');
    if (workspace && workspace !== 'default') return null;
    try {
      return { model: decodeURIComponent(match[1]), version: match[2] || '' };
    } catch {
      return null;
    }
  }

  // MLflow marks its dark pages with a class and keeps the choice; before both, and without any, the system's preference counts.
  function isDark() {
    if (document.body?.classList.contains('dark-mode')) return true;
    let kept = null;
    try {
      kept = localStorage.getItem('_mlflow_dark_mode_toggle_enabled');
    } catch {
      // A browser may refuse to say.
    }
    return kept === null ? matchMedia('(prefers-color-scheme: dark)').matches : kept === 'true';
  }

  function make(kind, model, version) {
    const element = document.createElement(TAG);
    Object.assign(element.dataset, { kind, model, version, theme: isDark() ? 'dark' : 'light' });
    return element;
  }

  const fits = (element, { model, version }) => element.dataset.model === model && element.dataset.version === version;

  // The place beside "Promote model": the group of buttons at the end of the page's title.
  function header() {
    const menu = document.querySelector(`main ${MENU}`) || document.querySelector(MENU);
    const promote = document.querySelector('.promote-model-btn');
    const title = document.querySelector('main h2') || document.querySelector('h2');
    return (menu || promote)?.closest('h2 ~ div') || (title && (menu || promote) ? title.parentElement : null);
  }

  function intoHeader(page) {
    const place = header();
    if (!place) return false;
    const there = place.querySelector(TAG);
    if (there && fits(there, page)) return true;
    there?.remove();
    const element = make('header', page.model, page.version);
    element.style.marginRight = '8px';
    element.style.verticalAlign = 'top';
    if (getComputedStyle(place).display !== 'flex') place.style.display = 'flex';
    place.prepend(element);
    return true;
  }

  // A cell at the end of a row that looks like its neighbour. React takes rows over for other versions when they are sorted, and changes
  // their cells when the page is switched to the old form.
  function cellOf(row, version, role, fill) {
    const cells = row.querySelectorAll(`:scope > [${CELL}]`);
    const there = cells[0];
    const neighbour = [...row.children].filter((child) => !child.hasAttribute(CELL)).pop();
    if (!neighbour) return;
    const isRight = there && cells.length === 1 && there.getAttribute(CELL) === version && row.lastElementChild === there && there.className === neighbour.className;
    if (isRight) return;
    cells.forEach((cell) => cell.remove());
    const cell = document.createElement('div');
    cell.setAttribute(CELL, version);
    cell.setAttribute('role', role);
    cell.className = neighbour.className;
    cell.style.cssText = COLUMN_STYLE;
    cell.style.background = groundOf(row);
    fill(cell);
    row.append(cell);
  }

  // The colour behind a row: a cell that stays in place while the rest is scrolled must cover it.
  function groundOf(element) {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour && colour !== 'transparent' && !/, 0(\.\d+)?\)$/.test(colour)) return colour;
    }
    return isDark() ? '#11171c' : '#fff';
  }

  function intoTable(page) {
    const table = document.querySelector(TABLE);
    if (!table) return false;
    for (const row of table.querySelectorAll('[role="row"]')) {
      const link = row.querySelector('a[href*="/versions/"]');
      const version = link && ROUTE.exec(link.getAttribute('href'))?.[2];
      if (version) {
        cellOf(row, version, 'cell', (cell) => cell.append(make('row', page.model, version)));
      } else if (row.querySelector('[role="columnheader"]')) {
        cellOf(row, '', 'columnheader', (cell) => {
          Object.assign(cell.style, { fontWeight: '600', fontSize: '13px' });
          cell.textContent = 'Release';
        });
      } else {
        row.querySelectorAll(`[${CELL}]`).forEach((cell) => cell.remove());
      }
    }
    return true;
  }

  // What belongs to another page goes.
  function clear(page) {
    for (const element of document.querySelectorAll(TAG)) {
      const { kind, model, version } = element.dataset;
      const belongs = page && model === page.model && (kind === 'row' ? !page.version : version === page.version);
      if (!belongs) (element.closest(`[${CELL}]`) || element).remove();
    }
  }

  let since = { page: '', at: 0, timer: 0, told: false };

  function sync() {
    const page = route();
    clear(page);
    if (!page) return;
    const here = `${page.model}\n${page.version}`;
    if (since.page !== here) {
      clearTimeout(since.timer);
      since = { page: here, at: performance.now(), timer: setTimeout(kick, PATIENCE_MS + 50), told: false };
    }
    const found = page.version ? intoHeader(page) : intoTable(page);
    const corner = document.querySelector(`${TAG}[data-kind=corner]`);
    if (found) {
      corner?.remove();
    } else if (!corner && !since.told && performance.now() - since.at >= PATIENCE_MS) {
      since.told = true;
      standIn(page, here);
    }
    const theme = isDark() ? 'dark' : 'light';
    for (const element of document.querySelectorAll(TAG)) {
      if (element.dataset.theme === theme) continue;
      element.dataset.theme = theme;
      const cell = element.closest(`[${CELL}]`);
      if (cell) cell.style.background = groundOf(cell.parentElement);
    }
    const head = document.querySelector(`[${CELL}=""]`);
    if (head && head.dataset.theme !== theme) {
      head.dataset.theme = theme;
      head.style.background = groundOf(head.parentElement);
    }
  }

  // A button in the corner, and word of it; not where MLflow's page says that there is no such model.
  async function standIn(page, here) {
    const path = page.version ? 'model-versions/get' : 'registered-models/get';
    const query = new URLSearchParams({ name: page.model, ...(page.version && { version: page.version }) });
    const answer = await fetch(new URL(`../ajax-api/2.0/mlflow/${path}?${query}`, base)).catch(() => null);
    if (!answer?.ok || since.page !== here || document.querySelector(`${TAG}[data-kind=corner]`)) return;
    document.body.append(make('corner', page.model, page.version));
    fetch(new URL('api/anchors', base), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ page: page.version ? 'version' : 'model' }),
    }).catch(() => {});
  }

  // Many changes of a page become one look at it; a look that changes nothing ends the matter.
  let isDue = false;
  function kick() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      sync();
    });
  }

  new MutationObserver(kick).observe(document.documentElement, { childList: true, subtree: true });
  new MutationObserver(kick).observe(document.body, { attributes: true, attributeFilter: ['class'] });
  addEventListener('hashchange', kick);
  addEventListener('popstate', kick);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', kick);
  kick();
})();
