"""Communication: what an exchange sends, how long that takes, and collectives written out.

cost         messages and bytes of stars, trees, rings and the like, in closed form
network      an exchange on links of some speed: seconds, money, and how many workers it serves
collectives  all-reduce on point-to-point messages: all to all, tree, ring
"""
