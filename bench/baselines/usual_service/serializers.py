# mypy: ignore-errors
"""Fields of requests and replies."""

from django.conf import settings
from rest_framework import serializers

from bench.baselines.usual_service.models import Generation


class GenerateSerializer(serializers.Serializer):
    """The fields of a request."""

    prompt = serializers.CharField(max_length=4000)
    model = serializers.ChoiceField(["zekron-image-1"], default="zekron-image-1")
    size = serializers.ChoiceField(list(settings.PRICES), default="1024x1024")


class PageSerializer(serializers.Serializer):
    """The part of the history that is asked for."""

    limit = serializers.IntegerField(min_value=1, max_value=100, default=20)
    offset = serializers.IntegerField(min_value=0, default=0)


class GenerationSerializer(serializers.ModelSerializer):
    """A line of the history."""

    type = serializers.ReadOnlyField(default="create")
    image_url = serializers.SerializerMethodField()

    class Meta:
        """The fields, in their order."""

        model = Generation
        fields = [
            "id",
            "token",
            "prompt",
            "model",
            "size",
            "cost",
            "status",
            "type",
            "image_url",
            "expires_at",
            "created_at",
        ]

    def get_image_url(self, generation):
        """Return the address of the image."""
        return self.context["request"].build_absolute_uri(f"/v1/images/{generation.token}")
