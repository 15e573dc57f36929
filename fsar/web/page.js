/* What the page does in the browser: a folder is spread over the boxes, a recording is put into one, and an answer is
   marked as old while something else stands on the page. Files go the way of any dropped file, a box at a time. */
window.fsar = (() => {
  const {kinds, clips, classes, megabytes} = window.fsarLimits;
  const find = query => document.querySelector(query);
  const say = text => { find('#folder-said').textContent = text; };
  const order = new Intl.Collator('en', {numeric: true}).compare;
  let asked = null;

  async function until(made) {
    for (let i = 0; i < 600; i++) {
      const found = made();
      if (found) return found;
      await new Promise(done => setTimeout(done, 100));
    }
    throw new Error(`waited in vain for ${made}`);
  }

  const empty = box => !find(`#${box} .file-preview`) && find(`#${box} input[type=file]`);

  async function put(box, files) {
    const input = await until(() => empty(box)), given = new DataTransfer();
    files.forEach(file => given.items.add(file));
    input.files = given.files;
    input.dispatchEvent(new Event('change', {bubbles: true}));
  }

  async function write(id, text) {
    const field = await until(() => find(`#${id} input, #${id} textarea`));
    field.value = text;
    field.dispatchEvent(new Event('input', {bubbles: true}));
  }

  /* [{name, files}] and perhaps a clip to name, in place of all that stands on the page. */
  async function fill(groups, query) {
    const boxes = [...document.querySelectorAll('.clips, #query')];
    if (!boxes.every(box => empty(box.id))) find('#empty').click();
    await until(() => boxes.every(box => empty(box.id)));
    for (let i = groups.length + 1; find(`#name-${i}`); i++) await write(`name-${i}`, '');
    for (const [i, {name, files}] of groups.entries()) {
      if (!find(`#clips-${i + 1}`)) find('#more').click();
      await write(`name-${i + 1}`, name);
      await put(`clips-${i + 1}`, files);
    }
    if (query) await put('query', [query]);
  }

  /* [{folders, file}] as they were dropped: the last folder is the class, a clip above the others the one to name. */
  async function spread(dropped) {
    const videos = dropped.filter(({file}) => kinds.some(kind => file.name.toLowerCase().endsWith(kind)));
    const fit = videos.filter(({file}) => file.size <= megabytes * 2 ** 20);
    const depths = fit.map(({folders}) => folders.length), top = Math.min(...depths);
    const deep = Math.max(...depths) > top ? fit.filter(({folders}) => folders.length > top) : fit;
    const [query] = fit.filter(one => !deep.includes(one)).map(({file}) => file);
    const groups = new Map();
    for (const {folders, file} of deep) {
      const name = (folders.at(-1) ?? '').replaceAll('_', ' ').trim();
      groups.set(name, [...groups.get(name) ?? [], file]);
    }
    if (groups.size < 2 || groups.has('')) {
      say('No classes were found there: a folder is needed that has two or more folders of clips in it.');
      return;
    }
    const taken = [...groups].sort(([a], [b]) => order(a, b)).slice(0, classes).map(([name, files]) =>
      ({name, files: files.sort((a, b) => order(a.name, b.name)).slice(0, clips)}));
    const count = taken.reduce((sum, {files}) => sum + files.length, 0);
    const left = dropped.length - count - (query ? 1 : 0);
    say(`${taken.length} classes with ${count} clips` + (query ? `; to name: ${query.name}` : '') + '.' + (left
      ? ` Left out ${left} ${left > 1 ? 'files' : 'file'}: at most ${classes} classes, ${clips} clips of each and `
        + `${megabytes} MB a clip are taken.`
      : ''));
    await fill(taken, query);
  }

  async function walk(entry, folders = []) {
    if (entry.isFile) return [{folders, file: await new Promise((done, wrong) => entry.file(done, wrong))}];
    const reader = entry.createReader(), inside = [...folders, entry.name], found = [];
    for (;;) {
      const some = await new Promise((done, wrong) => reader.readEntries(done, wrong));
      if (!some.length) return found;
      for (const one of some) if (!one.name.startsWith('.')) found.push(...await walk(one, inside));
    }
  }

  document.addEventListener('change', event => {
    if (event.target.id !== 'folder') return;
    const files = [...event.target.files];
    event.target.value = '';
    spread(files.map(file => ({folders: file.webkitRelativePath.split('/').slice(0, -1), file})));
  });
  document.addEventListener('dragover', event => {
    if (event.target.closest?.('.folder')) event.preventDefault();
  });
  document.addEventListener('drop', async event => {
    if (!event.target.closest?.('.folder')) return;
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry()).filter(Boolean);
    spread((await Promise.all(entries.map(entry => walk(entry)))).flat());
  });
  document.addEventListener('click', event => {
    const video = event.target.closest?.('.seen button')?.firstElementChild;
    if (video?.paused) video.play().catch(() => video.closest('figure').classList.add('silent'));  // AVI and others
    else video?.pause();
  });
  for (const kind of ['play', 'pause'])
    document.addEventListener(kind, ({target}) => target.parentElement.classList.toggle('playing', kind === 'play'), true);

  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  return {
    /* Clips of the example, {class: {file name: base64}}; the class '' is the clip to name. */
    async example(said) {
      const made = Object.entries(JSON.parse(said)).map(([name, clips]) => ({name, files: Object.entries(clips).map(
        ([clip, text]) => new File([bytes(text)], clip, {type: 'video/mp4'}))}));
      say('An example is filled in. Press "Name it".');
      await fill(made.filter(({name}) => name), made.find(({name}) => !name).files[0]);
    },
    /* A recording goes into the box that was chosen for it: 0 is the clip to name. */
    record(recording, target, ...boxes) {
      const file = recording?.video ?? recording, number = Number(target.match(/\d+/) ?? 0);
      if (file && number) boxes[number - 1] = [...boxes[number - 1] ?? [], file];
      else if (file) boxes[boxes.length - 1] = file;
      return [null, ...boxes];
    },
    /* Events of a box may come late, after the answer: what stands there is compared, the events are not counted. */
    compare(asking, ...now) {
      const name = value => value?.path ?? value;
      const signed = JSON.stringify(now.map(value => Array.isArray(value) ? value.map(name) : name(value) || null));
      if (asking) asked = signed;
      for (const id of ['verdict', 'maps']) find(`#${id}`)?.classList.toggle('stale', signed !== (asked ?? signed));
    },
  };
})();
