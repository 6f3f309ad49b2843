"""The pages of pipelines' versions: what each consisted of, and which is at hand."""

from __future__ import annotations

from django.test import Client

from fluxio_django import pipelines
from fluxio_django.models import PipelineVersion
from tests.app.admin.shop import CHECKOUT, Shop

LIST = "/admin/fluxio_django/pipelineversion/"


def test_the_version_of_the_code_at_hand_is_marked(shop: Shop, root: Client) -> None:
    shop.buy("run")
    PipelineVersion.objects.create(pipeline=CHECKOUT, version="older", manifest="[]")
    PipelineVersion.objects.create(pipeline="gone", version="x", manifest="[]")
    page = root.get(LIST).content.decode()
    assert page.count(">current<") == 1
    current = PipelineVersion.objects.get(version=pipelines[CHECKOUT].version)
    assert (
        "The code at hand is this version."
        in root.get(f"{LIST}{current.pk}/change/").content.decode()
    )


def test_a_version_lists_its_stages(shop: Shop, root: Client) -> None:
    shop.buy("run")
    version = PipelineVersion.objects.get()
    entries = root.get(f"{LIST}{version.pk}/change/").context["entries"]
    assert [entry.key for entry in entries][:3] == ["price", "charge", "ship"]


def test_a_damaged_manifest_is_said_to_be_damaged(root: Client) -> None:
    for manifest in ("", "[", "7", "[[1]]", "[7]", '{"a": 1}', "null", '[["a", "b", "c", "d"]]'):
        version = PipelineVersion.objects.create(
            pipeline="p", version=manifest[:30], manifest=manifest
        )
        page = root.get(f"{LIST}{version.pk}/change/")
        assert "is damaged and cannot be read" in page.content.decode(), manifest
    assert root.get(LIST).content.decode().count(">damaged<") == 8


def test_versions_are_filtered_by_pipeline(root: Client) -> None:
    for name in ("a", "b"):
        PipelineVersion.objects.create(pipeline=name, version=name, manifest="[]")
    found = root.get(LIST, {"pipeline": "b"}).context["cl"].result_list
    assert [version.pipeline for version in found] == ["b"]
    assert root.get(LIST, {"manifest__contains": "x"}).status_code in (302, 400)


def test_a_broken_factory_does_not_break_the_list(shop: Shop, root: Client) -> None:
    shop.buy("run")
    pipelines.remove(CHECKOUT)

    def broken() -> None:
        raise RuntimeError

    pipelines.add(CHECKOUT, broken)  # type: ignore[arg-type]
    assert root.get(LIST).status_code == 200
