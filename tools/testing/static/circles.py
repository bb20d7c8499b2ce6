#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""circles.py [--draw]
Draws the imports between the files of each crate and fails for a circle of files.

A file names another when a path in it (in a `use` or elsewhere in code, tests left out)
leads to an item of the other. A name that a mod.rs only gives on (`pub use`) counts as
the file that has the item. Circles that are kept are on the list ALLOWED, with the reason.
"""
import pathlib
import re
import sys
from fnmatch import fnmatch

TOP = pathlib.Path(__file__).resolve().parents[3]

# The root of each crate.
CRATES = [
    'rust/kernel_ext.rs',
    'net/ceph/ceph_proto.rs',
    'net/ceph/ceph_core.rs',
    'fs/ceph/ceph_fs_proto.rs',
    'fs/ceph/ceph_fs.rs',
]

# Files (as patterns) that may name each other, and why. Documentation/architecture.rst says more.
ALLOWED = [
    (['rust/fs/*'],
     'the C objects name each other: an inode has a super block, a dentry an inode, ...'),
]


def strip(text):
    """The code without comments, strings, and modules of tests."""
    out, i, n = [], 0, len(text)
    while i < n:
        two = text[i:i + 2]
        if two == '//':
            i = text.find('\n', i)
            i = n if i < 0 else i
        elif two == '/*':
            i = text.find('*/', i) + 2
        elif text[i] == '"':
            i += 1
            while i < n and text[i] != '"':
                i += 2 if text[i] == '\\' else 1
            i += 1
            out.append('""')
        elif re.match(r"'(\\.|[^\\'])'", text[i:i + 4]):
            i += len(re.match(r"'(\\.|[^\\'])'", text[i:i + 4]).group())
        else:
            out.append(text[i])
            i += 1
    code = ''.join(out)
    while True:
        tests = re.search(r'\bmod (tests?|\w+_tests?) \{', code)
        if not tests:
            return code
        depth, i = 1, tests.end()
        while depth and i < len(code):
            depth += {'{': 1, '}': -1}.get(code[i], 0)
            i += 1
        code = code[:tests.start()] + code[i:]


def names(tree, prefix=()):
    """(name, path) for each name that a `use` tree brings in."""
    tree = tree.strip()
    group = re.match(r'^((?:\w+::)*)\{(.*)\}$', tree, re.S)
    if group:
        prefix += tuple(p for p in group.group(1).split('::') if p)
        depth, part = 0, ''
        for c in group.group(2) + ',':
            if c == ',' and not depth:
                if part.strip():
                    yield from names(part, prefix)
                part = ''
                continue
            depth += {'{': 1, '}': -1}.get(c, 0)
            part += c
        return
    path, _, alias = tree.partition(' as ')
    path = prefix + tuple(path.strip().split('::'))
    if path[-1] == 'self':
        path = path[:-1]
    yield alias.strip() or path[-1], path


class Crate:
    def __init__(self, root):
        self.files = {}      # module path -> file
        self.code = {}       # module path -> code
        self.reexports = {}  # module path -> {name: path}
        self.add((), TOP / root, (TOP / root).parent, '')
        self.uses = {}

    def add(self, module, file, folder, _):
        self.files[module] = file
        code = self.code[module] = strip(file.read_text())
        self.reexports[module] = {}
        self.modules(module, code, folder, file)

    def modules(self, module, code, folder, file):
        text = file.read_text()
        # `mod a { pub mod b; }` in the root: folders without a mod.rs.
        for inline in re.finditer(r'^(?:pub(?:\([^)]*\))? )?mod (\w+) \{\n(.*?)^\}', code, re.S | re.M):
            name = inline.group(1)
            for inner in re.finditer(r'mod (\w+);', inline.group(2)):
                path = folder / name / (inner.group(1) + '.rs')
                if path.exists():
                    self.files.setdefault(module + (name,), file)
                    self.reexports.setdefault(module + (name,), {})
                    self.code.setdefault(module + (name,), '')
                    self.add(module + (name, inner.group(1)), path, folder / name / inner.group(1), '')
        for found in re.finditer(r'^(?:pub(?:\([^)]*\))? )?mod (\w+);', code, re.M):
            name = found.group(1)
            given = re.search(r'#\[path = "([^"]+)"\]\s*(?:pub(?:\([^)]*\))? )?mod %s;' % name, text)
            tries = [folder / given.group(1)] if given else [
                folder / (name + '.rs'), folder / name / 'mod.rs']
            for path in tries:
                if path.exists():
                    self.add(module + (name,), path, folder / name, '')

    def absolute(self, module, path):
        """A path as written in `module`, from the crate's root; None if it leads elsewhere."""
        if path[0] == 'crate':
            return path[1:]
        if path[0] == 'self':
            return module + path[1:]
        if path[0] == 'super':
            at = module
            while path and path[0] == 'super':
                at, path = at[:-1], path[1:]
            return at + path
        if module + path[:1] in self.files:
            return module + path
        return None

    def file_of(self, path, seen=()):
        """The file that has the item of an absolute path."""
        best = max((len(m) for m in self.files if path[:len(m)] == m), default=0)
        module, rest = path[:best], path[best:]
        if rest and (module, rest[0]) not in seen:
            given_on = self.reexports.get(module, {}).get(rest[0])
            if given_on:
                return self.file_of(given_on + rest[1:], seen + ((module, rest[0]),))
        return self.files[module]

    def edges(self):
        found = {}
        for module, code in self.code.items():
            for use in re.finditer(r'\bpub(?:\([^)]*\))? use ([^;]+);', code):
                for name, path in names(use.group(1)):
                    path = self.absolute(module, path)
                    if path is not None:
                        self.reexports[module][name] = path
        for module, code in self.code.items():
            paths = []
            for use in re.finditer(r'\b(pub(?:\([^)]*\))? )?use ([^;]+);', code):
                # What a mod.rs gives on it does not use itself.
                if not use.group(1):
                    paths += [path for _, path in names(use.group(2))]
            rest = re.sub(r'\buse [^;]+;', '', code)
            paths += [tuple(p.split('::')) for p in
                      re.findall(r'(?<![\w:$])(?:crate|super|self)(?:::\w+)+', rest)]
            for path in paths:
                path = self.absolute(module, path)
                if path is None:
                    continue
                if path and path[-1] == '*':
                    path = path[:-1]
                target = self.file_of(path)
                if target != self.files[module]:
                    found.setdefault(self.files[module], set()).add(target)
        return found


def circles(edges):
    """Strongly connected components of more than one file (Tarjan)."""
    index, low, stack, out = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in sorted(edges.get(v, ())):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            part = []
            while True:
                w = stack.pop()
                part.append(w)
                if w == v:
                    break
            if len(part) > 1:
                out.append(sorted(part))

    sys.setrecursionlimit(10000)
    for v in sorted(edges):
        if v not in index:
            visit(v)
    return out


def main():
    rc = 0
    unused = set(range(len(ALLOWED)))
    for root in CRATES:
        edges = Crate(root).edges()
        edges = {str(a.relative_to(TOP)): {str(b.relative_to(TOP)) for b in to} for a, to in edges.items()}
        if '--draw' in sys.argv:
            for a, to in sorted(edges.items()):
                print(a, '->', ' '.join(sorted(to)))
        for circle in circles(edges):
            allowed = [at for at, (patterns, _) in enumerate(ALLOWED)
                       if all(any(fnmatch(file, p) for p in patterns) for file in circle)]
            unused.difference_update(allowed)
            if allowed:
                continue
            print('circle of imports:')
            for a in circle:
                print('  %s -> %s' % (a, ' '.join(sorted(edges[a] & set(circle)))))
            rc = 1
    for at in sorted(unused):
        print('circles.py: no circle any more, take it off the list: %s' % ' '.join(ALLOWED[at][0]))
        rc = 1
    return rc


if __name__ == '__main__':
    sys.exit(main())
