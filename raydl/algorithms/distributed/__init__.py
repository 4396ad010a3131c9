"""Workers that stay, and synchronize.

dataparallel     DataParallel: processes that share every minibatch, by DDP; in one, centralized
localsgd         LocalSGD: workers that average after J local steps; post-local SGD, dynamic J
hierarchical     HierarchicalLocalSGD: groups of workers that average among themselves more often
slowmo           SlowMo: local SGD with a slow momentum over the averages
diloco           DiLoCo: many local steps of AdamW, and outer steps of Nesterov momentum
streamingdiloco  StreamingDiLoCo: DiLoCo in fragments, beside the training, in few bits
parameterserver  ParameterServer: workers push gradients, the server's optimizer steps; Downpour
easgd            EASGD: workers that keep their own parameters, tied to a center by a spring

Under the local methods: ``local``, what they have in common, and ``intervals``, the rules for J;
under DataParallel: ``hooks``, what is done to the gradients that its processes exchange; under
StreamingDiLoCo: ``e3m0``, numbers of 4 bits.
"""
