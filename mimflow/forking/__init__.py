"""Jobs without the start of Python: a process that has imported what jobs import, and forks once for each.

A job stays a process of its own, with its own manifest, lock and log. What a rule starts is the client, which hands its
words, environment, folder and streams over, passes signals on and ends as the job does. Where there is no server, or it
is not of the same code and environment, the client is the job, as without.
"""
