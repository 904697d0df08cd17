// node-etcd against the server whose URL is the first argument; the first failed assertion ends it with status 1.
'use strict';

const assert = require('assert');
const util = require('util');
const Etcd = require('node-etcd');

const etcd = new Etcd(process.argv[2]);
const call = (method, ...args) => util.promisify((done) => etcd[method](...args, (error, body, headers) => {
  done(error, { body, headers });
}))();
const fails = async (errorCode, promise) => {
  const error = await promise.then(() => assert.fail(`expected error ${errorCode}`), (reason) => reason);
  assert.strictEqual(error.errorCode, errorCode, String(error));
};
const event = (watcher, name) => new Promise((resolve) => watcher.once(name, resolve));

async function keys() {
  const { body, headers } = await call('set', 'key', 'value');
  assert.strictEqual(body.action, 'set');
  assert.strictEqual(body.node.value, 'value');
  assert.strictEqual(headers['x-etcd-index'], String(body.node.modifiedIndex));
  assert.strictEqual((await call('get', 'key')).body.node.value, 'value');
  assert.strictEqual((await call('set', 'key', 'other', { ttl: 1000 })).body.prevNode.value, 'value');
  assert.strictEqual((await call('compareAndSwap', 'key', 'third', 'other')).body.action, 'compareAndSwap');
  await fails(101, call('compareAndSwap', 'key', 'x', 'nope'));
  await fails(101, call('compareAndDelete', 'key', 'nope'));
  assert.strictEqual((await call('compareAndDelete', 'key', 'third')).body.action, 'compareAndDelete');
  await fails(100, call('get', 'key'));
  await fails(105, call('set', 'once', 'x').then(() => call('set', 'once', 'x', { prevExist: false })));
  assert.strictEqual((await call('del', 'once')).body.action, 'delete');
}

async function directories() {
  assert.strictEqual((await call('mkdir', 'dir')).body.node.dir, true);
  await fails(102, call('mkdir', 'dir'));
  const first = (await call('create', 'dir', 'one')).body.node.key;
  const second = (await call('post', 'dir', 'two')).body.node.key;
  const listed = (await call('get', 'dir', { recursive: true, sorted: true })).body.node.nodes;
  assert.deepStrictEqual(listed.map((node) => node.key), [first, second]);
  await fails(108, call('rmdir', 'dir'));
  assert.strictEqual((await call('rmdir', 'dir', { recursive: true })).body.action, 'delete');
}

async function watches() {
  const { node } = (await call('set', 'watched', 'one')).body;
  await call('set', 'watched', 'two');
  assert.strictEqual((await call('watchIndex', 'watched', node.modifiedIndex)).body.node.value, 'one');

  const watcher = etcd.watcher('watched', node.modifiedIndex);
  const seen = [];
  watcher.on('change', (change) => seen.push(change.node.value || change.action));
  const deleted = event(watcher, 'delete');
  await call('set', 'watched', 'three');
  await call('del', 'watched');
  await deleted;
  watcher.stop();
  assert.deepStrictEqual(seen, ['one', 'two', 'three', 'delete']);

  const expiring = etcd.watcher('short', node.modifiedIndex);
  const expired = event(expiring, 'expire');
  await call('set', 'short', 'x', { ttl: 1 });
  assert.strictEqual((await expired).prevNode.value, 'x');
  expiring.stop();
}

async function clearedIndex() {
  const { node } = (await call('set', 'old', 'x')).body;
  for (let count = 0; count < 1001; count += 1) await call('set', 'busy', 'x');
  await fails(401, call('watchIndex', 'old', node.modifiedIndex));
  const watcher = etcd.watcher('old', node.modifiedIndex);
  await event(watcher, 'resync');
  const changed = event(watcher, 'change');
  const writing = setInterval(() => call('set', 'old', 'y'), 20);
  assert.strictEqual((await changed).node.value, 'y');
  clearInterval(writing);
  watcher.stop();
}

async function cluster() {
  await fails(100, call('machines')); // it asks for the key /_etcd/machines, as etcd 0.4 had it
  assert.strictEqual((await call('selfStats')).body.state, 'StateLeader');
  assert.ok((await call('leaderStats')).body.leader);
}

keys().then(directories).then(watches).then(clearedIndex).then(cluster).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
