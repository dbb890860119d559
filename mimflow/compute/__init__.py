"""Where jobs are computed: devices, threads, precision, memory."""
