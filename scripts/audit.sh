#!/bin/sh
# Looks up the images' locked packages in the vulnerability service that pip-audit asks (it needs the network).
# usage: audit.sh VENV      (pip-audit gets an environment of its own under build/)
# exit 0: nothing known against them.  1: something is.  2: nothing was audited; stderr says why.
set -eu

say() { printf 'audit: %s\n' "$*" >&2; }

[ -x build/audit-tool/bin/python ] || "$1/bin/python" -m venv build/audit-tool
python=build/audit-tool/bin/python
"$python" -m pip install -qq --disable-pip-version-check 'pip-audit>=2.9,<3'
mkdir -p build/audit
verdict=0
for runtime in cpu gpu; do
    report=build/audit/kowairo-$runtime.json
    rm -f "$report"
    # Its exit code says neither "vulnerable" nor "could not ask" apart; the report, written only when it asked, does.
    "$python" -m pip_audit --requirement "deploy/requirements-$runtime.txt" --require-hashes --disable-pip \
        --progress-spinner off --timeout 30 --format json --output "$report" 2>"$report.log" || true
    if [ ! -s "$report" ]; then
        tail -n 3 "$report.log" >&2
        say "the vulnerability service did not answer as it should: deploy/requirements-$runtime.txt was NOT audited"
        exit 2
    fi
    code=0
    "$python" - "$report" "deploy/requirements-$runtime.txt" <<'END' || code=$?
import json, sys
packages = json.load(open(sys.argv[1], encoding="utf-8"))["dependencies"]
skipped = [package for package in packages if "skip_reason" in package]
bad = [(package, fault) for package in packages for fault in package.get("vulns", ())]
print(f"audit: {sys.argv[2]}: {len(packages)} packages, {len(skipped)} not found, {len(bad)} known vulnerabilities")
if len(skipped) == len(packages):
    sys.exit(2)
for package in skipped:
    print(f"audit:   {package['name']}: {package['skip_reason']}")
for package, fault in bad:
    fixed = ", ".join(fault["fix_versions"]) or "no version"
    print(f"audit:   {package['name']} {package['version']}: {fault['id']}, fixed in {fixed}")
sys.exit(1 if bad or skipped else 0)
END
    if [ "$code" = 2 ]; then
        say "what answered knows not one package, so it is no vulnerability service: NOTHING was audited"
        exit 2
    fi
    [ "$code" = 0 ] || verdict=1
done
exit $verdict
