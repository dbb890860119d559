"""Building blocks of networks that several parts share: attention, caches, permutations, patches."""
