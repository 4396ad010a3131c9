"""Participations: who takes part in which round, one a file.

participation       ParticipationSpec: endless streams of cohorts, pure functions of a seed
selector            Selector, SelectorSpec: cohorts that follow from what was told of former rounds
uniform             Uniform: all equally likely
skewed              Skewed: some more often than others
powerofchoice       PowerOfChoice: of some candidates those with the largest losses
oort                Oort: by what their samples and their speed are worth
lossproportional    LossProportional: drawn by their last losses
availability        Availability: what those have in common who are not always there
daily               Daily: a rhythm of the day, by time zone
intervals           Intervals: those that a trace file holds
"""
