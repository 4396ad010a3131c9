"""Studies: questions, the runs that answer them, and the tables and plots of the answer.

registry         the studies by name
study            what a study is, and how it is carried out
grid             runs side by side, and their table
mnist            three tables of FedSGD and FedAvg
message_passing  the cost of an all-reduce, counted and in closed form
cifar100         studies of one network on CIFAR-100
"""
