# mypy: ignore-errors
"""Endpoints of the usual service."""

import base64
from decimal import Decimal

from celery.exceptions import TimeoutError as TaskTimeout
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.baselines.usual_service.errors import Gone, PaymentRequired
from bench.baselines.usual_service.models import Account, Entry, Generation
from bench.baselines.usual_service.serializers import GenerateSerializer, GenerationSerializer, PageSerializer
from bench.baselines.usual_service.tasks import generate


class GenerateView(APIView):
    """POST /v1/generate."""

    def post(self, request):
        """Hold the price, queue the task, wait for its result, and reply with the image."""
        fields = GenerateSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        generation = hold(request.user, fields.validated_data)
        try:
            generate.apply_async(args=[generation.pk]).get(timeout=settings.WAIT_SECONDS)
        except TaskTimeout as error:
            raise exceptions.APIException("The image is not ready yet. Get it from the history.") from error
        generation.refresh_from_db()
        request.user.refresh_from_db()
        image = GenerationSerializer(generation, context={"request": request}).data
        data = {name: image[name] for name in ("id", "token", "type", "model", "prompt", "size")}
        data["image"] = {
            "url": image["image_url"],
            "b64_json": base64.b64encode(decrypt(generation)).decode(),
            "mime_type": "image/png",
            "expires_at": image["expires_at"],
        }
        data |= {"cost": image["cost"], "remaining_balance": str(request.user.balance)}
        return Response({"success": True, "data": data, "created_at": image["created_at"]})


@transaction.atomic
def hold(account, fields):
    """Hold the price of the request, and return its generation."""
    cost = Decimal(settings.PRICES[fields["size"]])
    account = Account.objects.select_for_update().get(pk=account.pk)
    if account.balance - account.reserved < cost:
        raise PaymentRequired
    account.reserved += cost
    account.save(update_fields=["reserved"])
    return Generation.objects.create(account=account, cost=cost, **fields)


def decrypt(generation):
    """Return the bytes of the image."""
    with generation.file.open() as file:
        return Fernet(settings.FERNET_KEY).decrypt(file.read())


class ImageView(APIView):
    """GET /v1/images/{token}."""

    def get(self, request, token):
        """Return the image's bytes."""
        generation = get_object_or_404(Generation, token=token, status="completed")
        if generation.account_id != request.user.pk:
            raise exceptions.PermissionDenied
        if generation.expires_at <= timezone.now():
            raise Gone
        return HttpResponse(decrypt(generation), content_type="image/png")


class BalanceView(APIView):
    """GET /v1/balance."""

    def get(self, request):
        """Return the balance and the totals."""
        entries = Entry.objects.filter(account=request.user)
        spent, count = -(entries.aggregate(spent=Sum("amount"))["spent"] or 0), entries.count()
        totals = {"total_spent": f"{spent:.4f}", "total_generations": count, "currency": "USD"}
        return Response({"success": True, "data": {"balance": str(request.user.balance), **totals}})


class HistoryView(APIView):
    """GET /v1/generations."""

    def get(self, request):
        """Return a page of the history, newest first."""
        page = PageSerializer(data=request.query_params)
        page.is_valid(raise_exception=True)
        limit, offset = page.validated_data["limit"], page.validated_data["offset"]
        rows = Generation.objects.filter(account=request.user).order_by("-pk")
        total = rows.count()
        some = GenerationSerializer(
            rows[offset : offset + limit], many=True, context={"request": request}
        ).data
        pagination = {"total": total, "limit": limit, "offset": offset, "has_more": offset + limit < total}
        return Response({"success": True, "data": {"generations": some, "pagination": pagination}})


urlpatterns = [
    path("healthz", lambda request: HttpResponse()),
    path("v1/generate", GenerateView.as_view()),
    path("v1/images/<str:token>", ImageView.as_view()),
    path("v1/balance", BalanceView.as_view()),
    path("v1/generations", HistoryView.as_view()),
]
