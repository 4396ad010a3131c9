"""Texts as samples: letters, the windows into them, and who says what in a play.

alphabet  letters as tokens: the 80 of published work on Shakespeare
windows   Text, Windows: stretches of a text, gathered as they are asked for
position  Division: the windows of each client, divided by where they stand
plays     the roles of plays, and what they say
"""
