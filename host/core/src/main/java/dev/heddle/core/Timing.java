package dev.heddle.core;

import java.util.OptionalLong;

/**
 * How long a run took.
 *
 * @param hostNs from the first submission until the last result is there, on the host's clock, ns
 * @param deviceNs time that the device's own clock counted inside kernels, ns; empty where the
 *     device has no such clock
 */
public record Timing(long hostNs, OptionalLong deviceNs) {}
