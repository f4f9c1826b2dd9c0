"""Mutations of the engines' loading and of their workers' registration."""

from tests.mutants.mutation import Mutation

LOADING = "workers/pipelines/runtime/loading.py"
DIRECT = "tests/workers/pipelines/runtime/test_loading.py"
REGISTRY = "workers/messaging/worker_registry.py"
REGISTERED = "tests/workers/messaging/test_worker_registry.py"
OFFLOADED = "tests/workers/pipelines/flux2/test_offloaded.py"
CONTRACT_OF_PROMPTS = (
    "tests/workers/pipelines/test_adapter_contract.py::"
    "test_an_order_is_told_how_many_tokens_of_its_prompt_are_read"
)

MUTATIONS = (
    Mutation(
        name="offload: an option that it would leave without effect",
        path=LOADING,
        text="        if offload and options.get(name, value_without) != value_without:\n",
        without='        if offload and name == "compile" and options.get(name):\n',
        tests=(f"{OFFLOADED}::test_every_option_is_either_refused_by_its_name_or_has_its_effect",),
    ),
    Mutation(
        name="weights go straight to the device",
        path=LOADING,
        text='        device_map={"": device},\n',
        without='        device_map={"": CPU},\n',
        tests=(f"{DIRECT}::test_every_component_is_loaded_on_the_device",),
    ),
    Mutation(
        name="a text encoder without one of its tensors is refused",
        path="workers/pipelines/flux2/text_encoder.py",
        text='    if found["missing_keys"]:\n',
        without="    if False:\n",
        tests=(f"{DIRECT}::test_a_file_without_a_tensor_that_is_used_is_refused",),
    ),
    Mutation(
        name="an order is told of its prompt's tokens",
        path="workers/pipelines/runtime/prompt_lengths.py",
        text="        order.on_prompt_read(tokens)\n",
        without="        pass\n",
        tests=(CONTRACT_OF_PROMPTS,),
    ),
    Mutation(
        name="the tokens of the template are none of the prompt",
        path="workers/pipelines/flux2/prompt_template.py",
        text="sum(start < end and stop > first for start, stop in spans[: self._length])",
        without="len(spans[: self._length])",
        tests=(CONTRACT_OF_PROMPTS,),
    ),
    Mutation(
        name="the row keeps how much of a prompt was read",
        path="workers/lifecycle/completion.py",
        text="            prompt_tokens=prompt_tokens,\n",
        without="            prompt_tokens=None,\n",
        tests=(
            "tests/workers/gpu_worker/test_attempt.py::test_the_row_keeps_how_much_of_a_long_prompt_was_read",
        ),
    ),
    Mutation(
        name="a worker that loads is no capacity",
        path=REGISTRY,
        text="    return [worker for worker in _list_entries() if not worker.is_loading]\n",
        without="    return _list_entries()\n",
        tests=(
            f"{REGISTERED}::test_a_worker_that_loads_is_listed_apart_and_makes_nothing_until_it_has_loaded",
        ),
    ),
    Mutation(
        name="a worker that cannot load leaves the registry",
        path="workers/gpu_worker/process.py",
        text="        except BaseException:\n            self._heartbeat.close()\n            raise\n",
        without="        except BaseException:\n            raise\n",
        tests=(
            "tests/workers/gpu_worker/test_loading.py::"
            "test_a_worker_that_cannot_load_leaves_the_registry_before_it_ends",
        ),
    ),
)
