// Runs the public suite http-tests/cache-tests, in whichever of its two layouts the folder SUITE has.
//
//   node suite.mjs origin SUITE             the suite's origin server, on a free port of 127.0.0.1; prints `Listening on URL`
//   node suite.mjs run SUITE BASE PROXY [ID...]   the suite's client: every test, or these with those that they depend on,
//                                           against BASE (through PROXY, by absolute-form requests, unless it is `-`);
//                                           then one line of JSON for each test on stdout
//   node suite.mjs one SUITE BASE PROXY ID  one test, with the heads of its requests and responses
//
// The rules, the counting and the judgement are the suite's own: what stands here only starts them. With PROXY the folder
// needs the package `undici`: Node's own fetch speaks to a proxy through no setting of its environment.
import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [role, folder, base, proxy, ...ids] = process.argv.slice(2)
const suite = path.resolve(folder)
// The newer layout keeps its programs in a folder of their own.
const engine = fs.existsSync(path.join(suite, 'test-engine')) ? path.join(suite, 'test-engine') : suite
const load = (...parts) => import(pathToFileURL(path.join(...parts)).href)

// The suite's server would listen on every address.
async function origin () {
  const listen = http.Server.prototype.listen
  http.Server.prototype.listen = function () { return listen.call(this, 0, '127.0.0.1') }
  process.env.npm_config_protocol = 'http'
  process.env.npm_config_port = '0'
  process.env.npm_config_pidfile = os.devNull
  await load(engine, 'server', 'server.mjs')
}

async function allTests () {
  const { default: tests } = await load(suite, 'tests', 'index.mjs')
  const older = path.join(suite, 'tests', 'surrogate-control.mjs')
  return fs.existsSync(older) ? [...tests, (await load(older)).default] : tests
}

async function judge () {
  const newer = path.join(engine, 'lib', 'results.mjs')
  return (await load(fs.existsSync(newer) ? newer : path.join(engine, 'lib', 'display.mjs'))).determineTestResult
}

// Both the fetches of Node itself and the agents that a test makes go through the proxy.
function useProxy (uri) {
  const undici = createRequire(path.join(suite, 'package.json'))('undici')
  const { ProxyAgent, setGlobalDispatcher } = undici
  undici.Agent = class extends ProxyAgent {
    constructor () { super({ uri, proxyTunnel: false }) }
  }
  setGlobalDispatcher(new undici.Agent())
}

// The older layout replaces these two fields by a test's own; without them fetch adds a no-cache of its own.
function plainFetch (url, init = {}) {
  const headers = [...(init.headers || [])]
  const has = name => headers.some(header => header[0].toLowerCase() === name)
  if (!has('pragma')) headers.push(['Pragma', 'foo'])
  if (!has('cache-control')) headers.push(['Cache-Control', 'nothing-to-see-here'])
  return fetch(url, { ...init, headers })
}

const outcomes = {
  '-': 'untested',
  '✅': 'pass',
  '⛔️': 'fail',
  '⚠️': 'not optimal',
  Y: 'yes',
  N: 'no',
  '🔹': 'setup failed',
  '⁉️': 'harness failed',
  '⚪️': 'dependency failed',
  '↻': 'retried'
}

async function run (tests) {
  const { runTests, getResults } = await load(engine, 'client', 'runner.mjs')
  // The older runner takes a fetch as its second parameter.
  await (engine === suite ? runTests(tests, plainFetch, false, base) : runTests(tests, false, base))
  return getResults()
}

// The tests named, with those that they depend on; all if none is named.
function chosen (tests) {
  if (ids.length === 0) return tests
  const byId = new Map(tests.flatMap(group => group.tests).map(test => [test.id, test]))
  const wanted = new Set()
  const want = id => {
    if (wanted.has(id)) return
    wanted.add(id)
    byId.get(id)?.depends_on?.forEach(want)
  }
  ids.forEach(want)
  return tests.map(group => ({ ...group, tests: group.tests.filter(test => wanted.has(test.id)) }))
}

async function runAll () {
  const tests = chosen(await allTests())
  const results = await run(tests)
  const determine = await judge()
  for (const group of tests) {
    for (const test of group.tests.filter(test => !test.browser_only)) {
      const outcome = outcomes[determine(tests, test.id, results)[2]]
      const said = Array.isArray(results[test.id]) ? results[test.id].join(': ') : ''
      const line = { id: test.id, group: group.id, kind: test.kind ?? 'required', outcome, said, name: test.name }
      fs.writeSync(1, JSON.stringify(line) + '\n')
    }
  }
}

async function runOne () {
  const [id] = ids
  const tests = await allTests()
  const only = tests.flatMap(group => group.tests).filter(test => test.id === id)
  only.forEach(test => { test.dump = true })
  const results = await run([{ id: 'one', name: 'one', tests: only }])
  console.log(JSON.stringify(results[id] ?? 'no such test'))
}

if (role === 'origin') {
  await origin()
} else {
  if (proxy !== '-') useProxy(proxy)
  await (role === 'one' ? runOne() : runAll())
  // The agents keep connections open.
  process.exit(0)
}
