"""The pure core: functions of (state, input, now). Start with `gateway.core.path`."""
