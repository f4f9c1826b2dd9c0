"""The routes of the start page."""

from django.urls import path

from zekron_api.home import page, showcase

app_name = "home"
urlpatterns = [
    path("", page.serve, name="page"),
    path("showcase/pictures", showcase.MakeView.as_view(), name="make"),
    path("showcase/pictures/<str:generation_id>/events", showcase.WatchView.as_view(), name="watch"),
    path("showcase/pictures/<str:generation_id>/image", showcase.PictureView.as_view(), name="picture"),
]
