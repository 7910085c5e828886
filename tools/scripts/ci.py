#!/usr/bin/env python3
"""tools/scripts/ci.py [--set-up-took SECONDS] [PART...]: what .ci/run runs; all parts when none is named. They are

  tests      the README's command, bash tools/test.sh: sets up, builds, every test, the walls and the fuzz seeds among them
  emulator   the cases of the emulator of CUDA text that are too slow for every test run, all of them, in shards
  tidy       clang-tidy on every product file
  asan       the fast tests and the fuzz seeds under the address and undefined behaviour sanitizers
  tsan       thread pool, devices and sessions under the thread sanitizer

A part that fails does not stop the next. At the end stands a table, and why tests were skipped: a reason that tests/skips.txt does not
know, or more skips in a part than it allows, is a failure. Wants tools/scripts/setup.sh --ci. Logs are in build/ci.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / 'build' / 'ci'
CORES = len(os.sched_getaffinity(0))
PRODUCT = ('ir', 'passes', 'codegen', 'runtime', 'frontends', 'tools')

# Test programs and which of their tests. Left out: what takes minutes under a sanitizer and is about numbers, what asks how long something
# takes, and what calls NVRTC, which leaks.
ASAN = {
    'ir_base': '-*Teams*:*Burns*', 'ir': '-*AreCheap', 'ir_interp': '*', 'frontends': '*', 'passes': '*', 'codegen': '*',
    'compiler': '-*IsCompiledForItsArchitecture', 'plan': '*', 'text': '-*TimeGrows*:*LongRuns*', 'chat': '*', 'device': '*', 'sampling': '*',
    'session': '*', 'cpu': '-gemm.every_weight_format*', 'cuda': '*',
}
TSAN = {'ir_base': '*ThreadPool*-*Burns*', 'device': '*', 'session': '*', 'cpu': 'CpuDevice.*:WorkRanges.*:*threads*', 'cuda': '*'}


class Case:
    """One test: `outcome` is passed, failed or skipped; `text` says why it failed or was skipped."""

    def __init__(self, name, outcome, text=''):
        self.name, self.outcome, self.text = name, outcome, text


class Part:
    """What a part did. `units` is what it counts: tests, or files looked through."""

    def __init__(self, name, units='tests'):
        self.name, self.units, self.cases, self.minutes, self.building = name, units, [], 0.0, 0.0

    def count(self, outcome):
        return sum(case.outcome == outcome for case in self.cases)

    def fail(self, name, text):
        self.cases.append(Case(name, 'failed', text))


def run(command, log, show=False, env=None):
    """Runs a command; its output goes to build/ci/`log` and, when `show`, to ours. Returns the exit code."""
    command = [str(word) for word in command]
    env = {**os.environ, **(env or {})}
    with open(OUT / log, 'w') as file:
        if not show:
            return subprocess.run(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   text=True, errors='replace')
        for line in process.stdout:
            file.write(line)
            print(line, end='', flush=True)
        return process.wait()


def tail(log, lines=60):
    return '\n'.join((OUT / log).read_text(errors='replace').splitlines()[-lines:])


def in_parallel(jobs):
    """Calls the functions, as many at a time as there are processors; their results in order."""
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(lambda job: job(), jobs))


def reason_in(output):
    """What GTEST_SKIP was given: the lines between "file:line: Skipped" and "[  SKIPPED ]"."""
    found = re.search(r': Skipped\n(.*?)\n?\[  SKIPPED \]', output, re.S)
    return ' '.join(found[1].split()) if found else 'no reason in the output'


def read_junit(path):
    """The tests of a file that ctest (--output-junit) or GoogleTest (--gtest_output=xml) wrote."""
    cases = []
    for element in xml.etree.ElementTree.parse(path).getroot().iter('testcase'):
        name, status = element.get('name').split('  # GetParam')[0], element.get('status')
        if element.get('classname') != element.get('name'):  # GoogleTest's: the suite is the class
            name = f'{element.get("classname")}.{name}'
        skipped, failures = element.find('skipped'), element.findall('failure')
        output = element.findtext('system-out') or ''
        if status == 'disabled' or element.get('result') == 'suppressed':
            cases.append(Case(name, 'skipped', 'disabled'))
        elif failures or status == 'fail':
            cases.append(Case(name, 'failed', output or '\n'.join(failure.text or '' for failure in failures)))
        elif skipped is not None:
            message = skipped.get('message')
            reason = reason_in(output) if message == 'SKIP_REGULAR_EXPRESSION_MATCHED' else ' '.join(message.split('\n', 1)[-1].split())
            cases.append(Case(name, 'skipped', reason))
        else:
            cases.append(Case(name, 'passed' if status == 'run' else 'failed', f'its status is {status}'))
    return cases


def build(part, preset, targets):
    """Configures and builds; False and a failure of the part when that fails."""
    start = time.monotonic()
    log = f'{part.name}-build.log'
    ok = (run(['cmake', '--preset', preset], log) == 0 and
          run(['cmake', '--build', '--preset', preset, '-j', CORES, '--target', *targets], log) == 0)
    part.building += (time.monotonic() - start) / 60
    if not ok:
        part.fail('the build', tail(log))
    return ok


def program(preset, name):
    return next((ROOT / 'build' / preset / 'tests').rglob(name))


def run_program(part, command, name, env):
    """A GoogleTest program, read from its own report; one that ends without a report has failed."""
    log, report = f'{part.name}-{name}.log', OUT / f'{part.name}-{name}.xml'
    report.unlink(missing_ok=True)
    code = run([*command, f'--gtest_output=xml:{report}'], log, env=env)
    cases = read_junit(report) if report.exists() else []
    if code != 0 and not any(case.outcome == 'failed' for case in cases):
        cases.append(Case(name, 'failed', f'it ended with code {code}\n{tail(log)}'))
    return cases


def run_suites(part, preset, suites, env, wrapper=()):
    jobs = [lambda n=name, f=tests: run_program(part, [*wrapper, program(preset, f'test_{n}'), f'--gtest_filter={f}'], n, env)
            for name, tests in suites.items()]
    for name, cases in zip(suites, in_parallel(jobs)):
        part.cases += cases
        if not cases:
            part.fail(name, 'it ran no test')


def tests(part):
    report = OUT / 'tests.xml'
    report.unlink(missing_ok=True)
    start = time.monotonic()
    # Passed tests' output is cut at 1 KB otherwise, and with it the reason of a skip.
    code = run(['bash', 'tools/test.sh', '--output-junit', report, '--test-output-size-passed', 65536], 'tests.log', show=True)
    if report.exists():
        took = float(xml.etree.ElementTree.parse(report).getroot().get('time'))
        part.building = (time.monotonic() - start - took) / 60
        part.cases = read_junit(report)
    if code != 0 and part.count('failed') == 0:
        part.fail('tools/test.sh', tail('tests.log'))


def emulator(part):
    if not build(part, 'release', ['test_cuda_codegen']):
        return
    shards = 4 * CORES  # so that the last one to end is short
    jobs = [lambda s=shard: run_program(
        part, [program('release', 'test_cuda_codegen'), '--gtest_filter=DISABLED_Slow/*', '--gtest_also_run_disabled_tests'], f'shard-{s}',
        {'GTEST_TOTAL_SHARDS': str(shards), 'GTEST_SHARD_INDEX': str(s)}) for shard in range(shards)]
    for cases in in_parallel(jobs):
        part.cases += cases
    if not part.cases:
        part.fail('the slow cases', 'there are none')


def tidy(part):
    # The headers that the build makes.
    if not build(part, 'release', ['heddle_plan_header', 'heddle_abi_header']):
        return
    commands = json.loads((ROOT / 'build/release/compile_commands.json').read_text())
    files = sorted({pathlib.Path(command['file']).relative_to(ROOT) for command in commands})
    files = [file for file in files if file.parts[0] in PRODUCT]

    def look_through(file):
        log = 'tidy-' + str(file).replace('/', '-') + '.log'
        code = run(['clang-tidy-19', '--quiet', '-p', 'build/release', file], log)
        text = re.sub(r'^\d+ warnings? generated\.\n|^Suppressed .*\n|^Use -header-filter.*\n', '', (OUT / log).read_text(), flags=re.M)
        (OUT / log).unlink()
        return Case(str(file), 'failed' if code != 0 else 'passed', text)

    part.cases = in_parallel([lambda f=file: look_through(f) for file in files])


def asan(part):
    corpora = sorted((ROOT / 'tests/fuzz/corpus').iterdir())
    if not build(part, 'asan', [f'test_{name}' for name in ASAN] + [f'fuzz_{corpus.name}' for corpus in corpora]):
        return
    run_suites(part, 'asan', ASAN, {'UBSAN_OPTIONS': 'print_stacktrace=1'})

    def replay(corpus):
        log = f'asan-fuzz-{corpus.name}.log'
        code = run([program('asan', f'fuzz_{corpus.name}'), '-seconds=2', corpus], log)
        return Case(f'fuzz.{corpus.name}', 'failed' if code != 0 else 'passed', tail(log))

    part.cases += in_parallel([lambda c=corpus: replay(c) for corpus in corpora])


def tsan(part):
    if not build(part, 'tsan', [f'test_{name}' for name in TSAN]):
        return
    # GCC 12's runtime does not know where newer kernels put things when they are put at random.
    wrapper = ['setarch', '-R']
    if subprocess.run([*wrapper, 'true'], capture_output=True).returncode != 0:
        wrapper = []
    run_suites(part, 'tsan', TSAN, {'TSAN_OPTIONS': 'halt_on_error=1'}, wrapper)


PARTS = {'tests': tests, 'emulator': emulator, 'tidy': tidy, 'asan': asan, 'tsan': tsan}


def allowed_skips():
    """tests/skips.txt: the rows (how many at most, regular expression, why)."""
    rows = []
    for line in (ROOT / 'tests/skips.txt').read_text().splitlines():
        if line and not line.startswith('#'):
            most, pattern, why = (field.strip() for field in line.split(' | '))
            rows.append((int(most), re.compile(pattern), why))
    return rows


def judge_skips(parts, allowed):
    """Prints how many tests skipped for which reason. Returns what is wrong with them."""
    wrong, lines = [], []
    for part in parts:
        unknown, by_row = collections.Counter(), collections.Counter()
        for case in part.cases:
            if case.outcome == 'skipped':
                row = next((i for i, (_, pattern, _) in enumerate(allowed) if pattern.search(case.text)), None)
                (unknown if row is None else by_row)[case.text if row is None else row] += 1
        for reason, n in unknown.items():
            lines.append(f'{part.name:<10} {n:>5}  {reason}: NOT IN tests/skips.txt')
            wrong.append(f'{part.name}: {n} skipped, and tests/skips.txt does not know why: {reason}')
        for row, n in sorted(by_row.items()):
            most, _, why = allowed[row]
            lines.append(f'{part.name:<10} {n:>5}  {why} (at most {most})')
            if n > most:
                wrong.append(f'{part.name}: {n} skipped because "{why}"; tests/skips.txt allows {most}')
    print('\nskipped, and why')
    print('\n'.join(lines) if lines else 'none')
    return wrong


def print_table(parts, set_up):
    print(f'\n{"part":<10} {"minutes":>8} {"building":>9} {"run":>6} {"failed":>7} {"skipped":>8}')
    if set_up:
        print(f'{"set up":<10} {set_up / 60:>8.1f}')
    for part in parts:
        ran = part.count('passed') + part.count('failed')
        print(f'{part.name:<10} {part.minutes:>8.1f} {part.building:>9.1f} {ran:>6} {part.count("failed"):>7} {part.count("skipped"):>8}  {part.units}')
        for prefix in ('walls.', 'fuzz.'):
            n = sum(case.name.startswith(prefix) for case in part.cases)
            if n:
                print(f'{"":<10} {"":>8} {"":>9} {n:>6} {"":>7} {"":>8}  of these {prefix[:-1]}')
    print(f'{"all":<10} {sum(part.minutes for part in parts) + set_up / 60:>8.1f}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--set-up-took', type=float, default=0, help='seconds, for the table')
    parser.add_argument('parts', nargs='*', metavar='PART', help=', '.join(PARTS))
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f'no such part: {" ".join(unknown)}; there are {", ".join(PARTS)}')
    allowed = allowed_skips()
    OUT.mkdir(parents=True, exist_ok=True)
    done = []
    for name, function in PARTS.items():
        if options.parts and name not in options.parts:
            continue
        print(f'== {name}', flush=True)
        part = Part(name, 'files' if name == 'tidy' else 'tests')
        start = time.monotonic()
        function(part)
        part.minutes = (time.monotonic() - start) / 60
        for case in part.cases:
            if case.outcome == 'failed' and name != 'tests':  # ctest has shown its own
                print(f'FAILED {name} {case.name}\n{case.text}', flush=True)
        done.append(part)

    wrong = judge_skips(done, allowed)
    print_table(done, options.set_up_took)
    for line in wrong:
        print(f'FAILED {line}')
    for part in done:
        for case in part.cases:
            if case.outcome == 'failed':
                print(f'FAILED {part.name} {case.name}')
    count = lambda outcome: sum(part.count(outcome) for part in done)
    print(f'{count("passed")} passed, {count("failed")} failed, {count("skipped")} skipped')
    return 1 if wrong or count('failed') else 0


if __name__ == '__main__':
    sys.exit(main())
