#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""rust-analyzer.py KERNEL-JSON OUT TOP CACHE TOOLBOX: adds our crates to the list of
the kernel's own, and rewrites the toolbox's paths to those of this machine."""
import json
import sys

# Crate: its root, and our crates that it uses.
CRATES = {
    'kernel_ext_bindings': ('rust/kernel_ext_bindings.rs', []),
    'kernel_ext': ('rust/kernel_ext.rs', ['kernel_ext_bindings']),
    'ceph_proto': ('net/ceph/ceph_proto.rs', []),
    'ceph_core': ('net/ceph/ceph_core.rs', ['kernel_ext', 'ceph_proto']),
    'ceph_fs_proto': ('fs/ceph/ceph_fs_proto.rs', ['ceph_proto']),
    'ceph_fs': ('fs/ceph/ceph_fs.rs',
                ['kernel_ext', 'ceph_proto', 'ceph_core', 'ceph_fs_proto']),
}


def main():
    source, out, top, cache, box = sys.argv[1:]
    with open(source) as f:
        project = json.load(f)
    crates = project['crates']
    index = {crate['display_name']: i for i, crate in enumerate(crates)}
    kernel = crates[index['kernel']]
    for name, (root, uses) in CRATES.items():
        basis = ['core', 'macros', 'kernel', 'pin_init', 'zerocopy', 'zerocopy_derive', 'ffi']
        crates.append({
            **{k: v for k, v in kernel.items() if k not in ('source', 'env')},
            'display_name': name,
            'root_module': f'/src/{root}',
            'is_workspace_member': True,
            'cfg': kernel['cfg'] + ['MODULE'],
            'env': {**kernel.get('env', {}), 'KERNEL_EXT_OBJ': f'{out}/rust'},
            'deps': [{'crate': index[n], 'name': n} for n in basis + uses if n in index],
            'source': {'include_dirs': ['/src/', f'{out}/rust/'], 'exclude_dirs': []},
        })
        index[name] = len(crates) - 1
    for crate in crates[:-len(CRATES)]:
        crate['is_workspace_member'] = False

    def here(value):
        """As this machine sees what the toolbox sees."""
        if isinstance(value, dict):
            return {k: here(v) for k, v in value.items()}
        if isinstance(value, list):
            return [here(v) for v in value]
        if value == '/usr':
            return f'{box}/usr'
        if isinstance(value, str):
            for inside, outside in (('/src/', f'{top}/'), ('/cache/', f'{cache}/'),
                                    ('/usr/', f'{box}/usr/')):
                if value.startswith(inside):
                    return outside + value[len(inside):]
        return value

    json.dump(here(project), sys.stdout, indent=1, sort_keys=True)


main()
