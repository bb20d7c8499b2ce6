# SPDX-License-Identifier: GPL-2.0
"""preads.py SEED COUNT FILE...: reads pseudo-random pieces of the files and prints
a digest of them; two clients that see the same bytes print the same."""
import hashlib
import os
import random
import sys

r = random.Random(int(sys.argv[1]))
for path in sys.argv[3:]:
    h = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    for _ in range(int(sys.argv[2])):
        h.update(os.pread(fd, r.choice((1, 100, 4096, 5000, 65536, 200000)), r.randrange(size + 10)))
    os.close(fd)
    print(os.path.basename(path), h.hexdigest())
