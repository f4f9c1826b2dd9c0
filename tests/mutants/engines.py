"""Mutations of the engines' loading and of their workers' registration."""

from tests.mutants.mutation import Mutation

LOADING = "workers/pipelines/runtime/loading.py"
OFFLOADED = "tests/workers/pipelines/flux2/test_offloaded.py"

MUTATIONS = (
    Mutation(
        name="offload: an option that it would leave without effect",
        path=LOADING,
        text="        if offload and options.get(name, value_without) != value_without:\n",
        without='        if offload and name == "compile" and options.get(name):\n',
        tests=(f"{OFFLOADED}::test_every_option_is_either_refused_by_its_name_or_has_its_effect",),
    ),
)
