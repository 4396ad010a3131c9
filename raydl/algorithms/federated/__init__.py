"""Clients that come and go, whose updates a server reduces.

fedsgd    FedSGD: one full-batch gradient step for each client and round, by gradients or weights
fedavg    FedAvg: local epochs or local steps of SGD, then the weighted mean
fedprox   FedProx: FedAvg with a proximal term that pulls clients back to where they began
fednova   FedNova: clients' movements count for each step, whoever took how many
fedasync  FedAsync: each client's parameters mixed into the server's as they arrive
fedopt    FedAvgM, FedAdagrad, FedAdam, FedYogi: FedAvg whose server has an optimizer
fedexp    FedExP: the server goes further along the mean, the less the clients agree
fedvarp   FedVARP: the step corrected by what the clients that are not drawn sent last
horvitzthompson  HorvitzThompson: no bias, however often which client takes part
mifa      MIFA: every step is of all clients, by what each of them sent last
fedfade   FedFade: MIFA whose memory fades, for participation that is strongly skewed
scaffold  SCAFFOLD: control variates take out of a client's steps what is its own alone
feddyn    FedDyn: each client's loss is regularized anew, so that its optimum is the whole's
mime      Mime, MimeLite: clients step as a central optimizer would, with the server's state of it
qfedavg   QFedAvg: clients that are served badly count more
afl       AFL: the model that does best on the worst mixture of the clients
correction  what several of them share: corrected gradients, passes over all samples
"""
