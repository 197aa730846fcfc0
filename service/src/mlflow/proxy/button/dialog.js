// The dialog behind the Release button: what is live, what can be done with it, and a new release; each change is shown before it is asked for.
//
// Everything that comes from data is put in as text, never as markup.
import { el, prose, when, problemBox, diffBox } from './parts.js';
import { STRATEGIES, releaseForm, bodyOf } from './form.js';
import { versionChoice } from './versions.js';
import { signatureBox } from './signature.js';

// A commit takes milliseconds; what follows it, seconds to minutes.
const POLL_MS = 1500;
const POLLS_MAX = 400;

const isMoving = (release) => ['entering', 'leaving'].includes(release.rollout.phase);

/** Opens the dialog; done once it is closed. */
export async function open({ base, model, version, isDark }) {
  const dialog = new ReleaseDialog(base, model, version, isDark() ? 'dark' : 'light');
  await dialog.run();
}

class ReleaseDialog {
  constructor(base, model, version, theme) {
    Object.assign(this, { base, model, version, polls: 0, form: {}, asked: null });
    this.host = el('kmlflow-dialog', { 'data-theme': theme });
    this.title = el('h2', { id: 'title', tabindex: '-1', style: 'outline: none' });
    this.subtitle = el('p');
    this.content = el('main');
    this.actions = el('footer');
    const close = el('button', { class: 'close', type: 'button', 'aria-label': 'Close', onclick: () => this.dialog.close() }, '×');
    this.dialog = el('dialog', { 'aria-labelledby': 'title' }, el('header', {}, el('div', {}, this.title, this.subtitle), close), this.content, this.actions);
    this.host.attachShadow({ mode: 'open' }).append(this.dialog);
  }

  async run() {
    const style = el('link', { rel: 'stylesheet', href: new URL('dialog.css', this.base) });
    const styled = new Promise((done) => style.addEventListener('load', done, { once: true }));
    this.host.shadowRoot.prepend(style);
    document.body.append(this.host);
    await Promise.race([styled, new Promise((done) => setTimeout(done, 2000))]);
    const closed = new Promise((done) => this.dialog.addEventListener('close', done, { once: true }));
    // MLflow's own keys are not meant while the dialog is there.
    this.dialog.addEventListener('keydown', (event) => event.stopPropagation());
    this.show(`Release ${this.model}`, '', [el('p', { class: 'weak' }, 'Loading…')]);
    this.dialog.showModal();
    this.title.focus();
    if (this.version) await this.load();
    else await this.choose();
    await closed;
    this.isClosed = true;
    this.host.remove();
  }

  /** Puts a view in place of the one before. */
  show(title, subtitle, content, actions = []) {
    this.title.textContent = title;
    this.subtitle.textContent = subtitle;
    this.content.replaceChildren(...content);
    this.content.scrollTop = 0;
    this.actions.replaceChildren(...actions);
    if (this.dialog.open) this.title.focus();
  }

  /** Asks the service; a refusal is thrown as its problem. */
  async ask(path, body, headers = {}) {
    const options = body ? { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) } : {};
    let answer;
    try {
      answer = await fetch(new URL(`api/${path}`, this.base), options);
    } catch {
      throw { detail: 'the service cannot be reached', cure: 'try again; what was asked for may have been done' };
    }
    const said = await answer.json().catch(() => null);
    if (answer.ok && said) return { status: answer.status, said };
    throw said?.detail ? said : { detail: `the service answered ${answer.status}`, cure: 'try again, or look into its log' };
  }

  /** The versions of the model, where the page names none: from MLflow itself. */
  async choose() {
    try {
      const take = (version) => ((this.version = version), this.load());
      const { content, actions } = await versionChoice(this.base, this.model, take);
      this.show(`Release ${this.model}`, '', content, actions);
    } catch (problem) {
      this.failed(problem, () => this.choose());
    }
  }

  path(query = {}) {
    const search = new URLSearchParams(query).toString();
    return `models/${encodeURIComponent(this.model)}/versions/${encodeURIComponent(this.version)}${search && `?${search}`}`;
  }

  /** Reads the state and shows it; `key` names another release of the model, or the place of a new one. Of several questions the last one counts. */
  async load(key) {
    const asked = (this.asked = Symbol('the last question'));
    const isLast = () => this.asked === asked;
    try {
      const { said } = await this.ask(this.path(key ? { release: key } : {}));
      if (!isLast()) return;
      this.state = said;
      this.overview();
    } catch (problem) {
      if (isLast()) this.failed(problem, () => this.load(key));
    }
  }

  failed(problem, again) {
    const content = [problemBox(problem)];
    // On a host name of its own there is nothing but MLflow.
    if (problem.status === 401 && this.base.pathname.startsWith('/mlflow/')) {
      content.push(el('p', { class: 'weak' }, el('a', { href: new URL('/', this.base), target: '_blank', rel: 'noopener' }, "Kmlflow's own page"), ' takes a token too.'));
    }
    this.show(`Release ${this.model}`, this.version ? `Version ${this.version}` : '', content, [
      el('button', { type: 'button', onclick: again }, 'Try again'),
      el('button', { class: 'main', type: 'button', onclick: () => this.dialog.close() }, 'Close'),
    ]);
  }

  get keyText() {
    const { environment, namespace, name } = this.state.key;
    return `${environment}/${namespace}/${name}`;
  }

  /** The conditions under which a change may be carried out: that the release is still as it was shown. */
  get condition() {
    return this.state.release ? { 'if-match': `"${this.state.release.etag}"` } : { 'if-none-match': '*' };
  }

  overview() {
    const { user, release, releases } = this.state;
    const live = el('section', { 'aria-labelledby': 'live' }, el('h3', { id: 'live' }, 'Live now'));
    if (releases.length > 1) {
      const options = releases.map((key) => el('option', { value: key, selected: key === this.keyText }, key));
      if (!releases.includes(this.keyText)) options.unshift(el('option', { value: this.keyText, selected: true }, `${this.keyText} (new)`));
      live.append(el('label', { class: 'field', style: 'margin-bottom: 12px' }, el('span', {}, 'Release'), el('select', { name: 'release', onchange: (event) => this.load(event.target.value) }, ...options)));
    }
    live.append(...(release ? this.present(release) : [el('p', { class: 'weak' }, `Nothing is released as ${this.keyText}.`)]));
    const sections = [live];
    if (user.mayRelease) sections.push(this.newRelease());
    else sections.push(el('p', { class: 'note' }, 'You may look at this release, and not change it. Ask for EDIT on the model in MLflow.'));
    this.show(`Release ${this.model}`, `Version ${this.version} · signed in as ${user.name}`, sections);
  }

  /** The release as it is. */
  present(release) {
    const { spec, rollout } = release;
    const shares = release.split.map(({ role, version, weight, mirror }) => {
      const share = mirror ? `${mirror} % mirrored` : `${weight} %`;
      const fill = el('i', { class: mirror ? 'mirror' : '', style: `width: ${Math.max(weight, mirror)}%` });
      return el('li', {}, el('span', {}, el('b', {}, `Version ${version}`), ` · ${role}`), el('span', {}, share), el('span', { class: 'bar' }, fill));
    });
    const page = this.state.page ? el('a', { href: this.state.page, target: '_blank', rel: 'noopener' }, release.commit.slice(0, 7)) : release.commit.slice(0, 7);
    const facts = [
      ['Strategy', STRATEGIES[spec.strategy].name],
      ['Phase', rollout.paused ? `${rollout.phase}, paused by ${rollout.paused.by}` : rollout.phase],
      ['Since', when(rollout.since)],
      ['Commit', page],
      ['Cluster', release.status.state === 'unknown' ? `not known: ${release.status.reason}` : release.status.state],
      ['Endpoint', el('code', {}, release.endpoint)],
    ];
    const rows = facts.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]);
    const waits = release.waiting?.waitsFor || release.waitsFor;
    const notes = [...(waits ? [`Waits for: ${waits}`] : []), ...release.notes, ...this.holds()];
    return [
      el('ul', { class: 'shares' }, ...shares),
      el('dl', { class: 'facts' }, ...rows),
      ...notes.map((note) => el('p', { class: 'note warn', style: 'margin-top: 12px' }, ...prose(note))),
      ...(this.state.user.mayRelease ? [el('div', { class: 'acts' }, ...this.acts(release))] : []),
    ];
  }

  holds() {
    const { hold } = this.state.environments.find(({ name }) => name === this.state.key.environment) || {};
    return hold ? [`Everything is held by ${hold.by}: ${hold.reason}`] : [];
  }

  /** A button for everything that can be done now. */
  acts(release) {
    const { acts } = this.state;
    const other = release.spec.blueGreen?.active === 'green' ? 'blue' : 'green';
    const words = {
      advance: release.spec.strategy === 'blue-green' ? `Flip to ${other}` : 'Next step',
      promote: 'Promote',
      rollback: 'Roll back',
      abort: 'Abort',
      pause: 'Pause',
      resume: 'Resume',
      retract: 'Retract',
    };
    const says = {
      promote: 'The new version takes all traffic, and the run ends.',
      rollback: 'Everything becomes as it was when the release last stood still.',
      abort: 'The run ends, and the version from before it keeps all traffic.',
      retract: 'The release goes, with all that it runs.',
    };
    const versionOf = (role) => release.spec.variants.find((variant) => variant.role === role)?.version;
    const button = (act, label, variant) =>
      el('button', { type: 'button', class: act === 'retract' ? 'danger' : '', title: says[act], 'data-act': act, onclick: () => this.preview({ act, label, variant }) }, label);
    return acts.flatMap(({ act, variants }) => {
      if (!variants) return [button(act, words[act])];
      return variants.map((variant) => button(act, `${words[act]} ${variant} (version ${versionOf(variant)})`, variant));
    });
  }

  newRelease() {
    const { release } = this.state;
    const form = releaseForm(this.state, this.form, (key) => this.load(key));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.preview({ label: 'Release', body: bodyOf(this.state, this.form) });
    });
    const isRunning = release && release.rollout.phase !== 'settled';
    const title = `New release of version ${this.version}`;
    if (!isRunning) return el('section', { 'aria-labelledby': 'new' }, el('h3', { id: 'new' }, title), form);
    return el('section', {}, el('details', {}, el('summary', {}, title), form));
  }

  request(change, isDry) {
    const dry = isDry ? { dryRun: true } : {};
    if (!change.act) return this.ask('releases', { ...change.body, ...dry }, this.condition);
    const { environment, namespace, name } = this.state.key;
    const variant = change.variant ? { variant: change.variant } : {};
    return this.ask(`releases/${environment}/${namespace}/${name}/${change.act}`, { ...variant, ...dry }, this.condition);
  }

  /** Shows what a change would do. */
  async preview(change) {
    const title = change.act ? `${change.label}: ${this.state.key.name}` : `Release ${this.model}`;
    const back = el('button', { type: 'button', onclick: () => this.load(this.keyText) }, 'Back');
    const subtitle = change.act ? this.keyText : `Version ${this.version} as ${this.keyText}`;
    try {
      const { said } = await this.request(change, true);
      const content = [el('p', { 'data-summary': '' }, ...prose(sentence(said.summary)))];
      if (said.waitsFor) content.push(el('p', { class: 'note' }, ...prose(`It waits first for: ${said.waitsFor}`)));
      if (change.act === 'retract') content.push(el('p', { class: 'note warn' }, 'Nobody can call the endpoint any more once it is retracted.'));
      if (said.signature) content.push(signatureBox(said.signature, this.state.release?.spec.variants[0].version));
      if (said.diff) content.push(el('h3', {}, 'What changes in the repository'), diffBox(said.diff));
      const go = el('button', { type: 'button', class: change.act === 'retract' ? 'main danger' : 'main', 'data-go': '', onclick: () => this.carryOut(change) }, change.label);
      this.show(title, subtitle, content, said.changed ? [back, go] : [back]);
    } catch (problem) {
      this.show(title, subtitle, [problemBox(problem), ...this.override(change, problem)], [back]);
    }
  }

  /** Lets who may say that the callers of the live version may break, where that is what is in the way. */
  override(change, problem) {
    const isAboutIt = problem.violations?.some(({ field }) => field.startsWith('signature.'));
    if (!isAboutIt || !this.state.user.mayBreakCallers || !change.body) return [];
    const again = { ...change, body: { ...change.body, allowBreakingSignature: true } };
    return [el('button', { type: 'button', class: 'danger', onclick: () => this.preview(again) }, 'Release all the same, callers may break')];
  }

  async carryOut(change) {
    for (const button of this.actions.children) button.disabled = true;
    this.change = change;
    try {
      const { status, said } = await this.request(change, false);
      if (status === 202) this.progress({ delivery: said.delivery, waitsFor: said.waitsFor });
      else this.progress({ commit: said.commit, changed: said.changed, reason: said.reason, release: said.release });
    } catch (problem) {
      this.failed(problem, () => this.load(this.keyText));
    }
  }

  /** Follows a change to its commit and beyond, as far as that is known. */
  progress(seen) {
    const { commit, waitsFor, release, refused, failure } = seen;
    const isGone = this.change.act === 'retract';
    const steps = [el('li', { class: 'done' }, `Asked for by ${this.state.user.name}`)];
    if (refused) {
      steps.push(el('li', { class: 'bad' }, el('span', {}, ...prose(sentence(refused.reason || 'It was refused')))));
    } else if (!commit) {
      steps.push(el('li', { class: 'now' }, el('span', {}, ...prose(failure ? tried(failure) : `Waits for: ${waitsFor || 'its turn'}`))));
    } else {
      steps.push(el('li', { class: 'done', 'data-commit': commit }, seen.changed === false ? sentence(seen.reason || 'Nothing had to change') : `Committed as ${commit.slice(0, 7)}`));
      if (isGone) steps.push(el('li', { class: 'done' }, 'The release is gone from the repository'));
      else if (release) steps.push(...this.beyond(release));
    }
    if (refused?.cure) steps.push(el('li', {}, el('span', {}, ...prose(sentence(refused.cure)))));
    const isOver = refused || (commit && (isGone || !release || !this.goesOn(release)));
    const isFollowed = !isOver && this.polls < POLLS_MAX;
    if (!isOver && !isFollowed) steps.push(el('li', {}, el('span', { class: 'weak' }, 'It is not followed here any longer; the release itself says how it fares.')));
    this.list(steps);
    const { steps: shown } = this;
    if (isFollowed) setTimeout(() => this.poll(seen, shown), POLL_MS);
  }

  /** Shows the steps so far; where they are there already, without moving anybody's focus and only where they have changed. */
  list(steps) {
    if (this.steps?.isConnected) {
      const text = (items) => items.map((item) => item.className + item.textContent).join('\n');
      if (text([...this.steps.children]) !== text(steps)) this.steps.replaceChildren(...steps);
      return;
    }
    const done = el('button', { class: 'main', type: 'button', 'data-done': '', onclick: () => ((this.polls = 0), this.load(this.keyText)) }, 'Done');
    this.steps = el('ol', { class: 'steps', role: 'status' }, ...steps);
    this.show(`${this.change.label}: ${this.state.key.name}`, this.keyText, [this.steps], [done]);
  }

  beyond(release) {
    const { phase } = release.rollout;
    const { state, reason } = release.status;
    const reached = el('li', { class: isMoving(release) ? 'now' : 'done' }, `Phase: ${phase}`, ...(release.waitsFor ? prose(`, waits for: ${release.waitsFor}`) : []));
    if (state === 'unknown') return [reached, el('li', {}, el('span', { class: 'weak' }, `Whether it is live is not known: ${reason}`))];
    const classes = { live: 'done', stalled: 'bad', degraded: 'bad' };
    return [reached, el('li', { class: classes[state] || 'now' }, state === 'live' ? 'Live' : `${sentence(state)}${reason ? `: ${reason}` : ''}`)];
  }

  goesOn(release) {
    return isMoving(release) || !['live', 'unknown', 'stalled'].includes(release.status.state);
  }

  async poll(seen, shown) {
    this.polls += 1;
    if (this.isClosed || !shown.isConnected) return;
    const query = { release: this.keyText, ...(seen.delivery && { delivery: seen.delivery }) };
    const state = await this.ask(this.path(query)).then(({ said }) => said, () => null);
    if (this.isClosed || !shown.isConnected) return;
    const next = { ...seen };
    if (state) {
      const { delivery } = state;
      if (state.release) next.release = state.release;
      next.failure = delivery?.state === 'failed' ? delivery : null;
      if (delivery?.state === 'refused') next.refused = delivery;
      else if (delivery?.commit) next.commit = delivery.commit;
      else if (delivery?.state === 'unchanged') Object.assign(next, { commit: state.release?.commit, changed: false, reason: delivery.reason });
      else if (delivery) next.waitsFor = delivery.waitsFor;
    }
    this.progress(next);
  }
}

/** What failed for now: why, and that it is tried again, which needs nobody. */
function tried({ reason, cure, nextAttemptAt }) {
  const time = nextAttemptAt && new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' }).format(new Date(nextAttemptAt));
  const words = [reason ? sentence(reason) : 'It failed', `It is tried again${time ? ` at ${time}` : ''}`, ...(cure ? [sentence(cure)] : [])];
  return words.map((text) => (text.endsWith('.') ? text : `${text}.`)).join(' ');
}

const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : '');
