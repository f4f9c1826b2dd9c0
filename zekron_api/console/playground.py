"""The playground: a page that makes pictures, and shows each request as a program."""

from typing import Any, Final

from csp.constants import SELF
from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from billing.grants import Scope
from workers.catalogue import ImageModel, catalogue
from workers.lifecycle import watching
from workers.messaging.partial_images import MAX_PARTIAL_IMAGES
from workers.models import Generation, Kind
from zekron_api.console import pages, snippets
from zekron_api.console.access import Access, member_page
from zekron_api.console.playground_form import EXAMPLE_PROMPT, PlaygroundForm
from zekron_api.endpoints import fields, sizes

# Pages that show sealed pictures, and files that the person has picked.
PICTURES_POLICY: Final = {"img-src": [SELF, "blob:", "data:"], "connect-src": [SELF]}
# The numbers by which the script predicts the size of an edit.
SIZE_RULE: Final = {"step": sizes.STEP, "maxRatio": sizes.MAX_RATIO, "pixels": sizes.AUTO_PIXELS}


@csp_update(PICTURES_POLICY)
@member_page(Scope.READ)
def serve(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Show the form. `?from=ID` fills it to make that generation again, and `?source=ID` edits that picture."""
    made = _find(access, request.GET.get("from", ""))
    source = _find(access, request.GET.get("source", ""))
    context = {
        "form": PlaygroundForm(made=made),
        "made": made,
        "was_edit": made is not None and made.kind == Kind.EDIT,
        "snippets": snippets.SNIPPETS,
        "page": _page(access, source),
    }
    return pages.render(request, access, "playground.html", context)


def _find(access: Access, generation_id: str) -> Generation | None:
    """Return the account's generation, or None for a text that names none."""
    try:
        return watching.find(account_id=access.account.pk, generation_id=generation_id)
    except Generation.DoesNotExist:
        return None


def _page(access: Access, source: Generation | None) -> dict[str, Any]:
    """Return what the script needs to know."""
    account_id = access.account.pk
    return {
        # The route of a quote ends with its name.
        "api": reverse("console:quote", args=[account_id]).removesuffix("/quote"),
        "gallery": reverse("console:gallery", args=[account_id]),
        "mayGenerate": access.may_generate,
        "models": [_describe(model) for model in catalogue().values()],
        "sizeRule": SIZE_RULE,
        "defaultSize": sizes.DEFAULT_SIZE,
        "maxPromptCharacters": fields.MAX_PROMPT_CHARACTERS,
        "maxSourceBytes": fields.MAX_SOURCE_BYTES,
        "maxPartialImages": MAX_PARTIAL_IMAGES,
        "programs": snippets.programs(),
        "examplePrompt": EXAMPLE_PROMPT,
        "url": settings.PUBLIC_URL,
        "source": source and str(source.pk),
    }


def _describe(model: ImageModel) -> dict[str, Any]:
    edits = f"edits up to {model.sources} images" if model.sources > 1 else "edits one image"
    return {
        "name": model.name,
        "facts": f"Licence {model.licence}, {edits if model.sources else 'edits no images'}.",
        "sources": model.sources,
        "max_n": model.max_n,
        "takes_seed": model.takes_seed,
        "takes_negative_prompt": model.takes_negative_prompt,
        "takes_partial_images": model.takes_partial_images,
    }
