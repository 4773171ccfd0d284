// Binary parts, fetched and decoded once for the whole page, whichever component asks.

const KEPT_DOWNLOADS = 96;
const downloads = (window.gramvizDownloads ??= new Map()); // address -> promise of data, the most recently used last

/** Decoded content of a file, fetched once for each address. */
function download(file, decode) {
  const known = downloads.get(file.url);
  const wanted = known ?? fetchBuffer(file.url).then(decode);
  downloads.delete(file.url);
  downloads.set(file.url, wanted);
  wanted.catch(() => downloads.delete(file.url));
  if (downloads.size > KEPT_DOWNLOADS) downloads.delete(downloads.keys().next().value);
  return wanted;
}

async function fetchBuffer(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error("status " + answer.status);
  return answer.arrayBuffer();
}

const asBytes = (buffer) => new Uint8Array(buffer);
