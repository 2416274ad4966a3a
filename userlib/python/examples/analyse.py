#!/usr/bin/env python3
"""Quantiles of the network's time in a capture, by far end: python3 analyse.py CAPTURE"""

import sys

import numpy as np

from instamp.arrays import read_capture

capture = read_capture(sys.argv[1])
for address in np.unique(capture.source[capture.corrected]):
    net_ns = capture.net_ns[capture.corrected & (capture.source == address)]
    p50, p90, p99 = np.percentile(net_ns, [50, 90, 99]) / 1e3
    print(f"{address}: {len(net_ns)} replies, network p50 {p50:.3f} us, p90 {p90:.3f} us, p99 {p99:.3f} us")
