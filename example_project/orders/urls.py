"""The addresses of the shop."""

from django.urls import path

from example_project.orders import views

app_name = "orders"

urlpatterns = [
    path("", views.shop, name="shop"),
    path("orders/", views.place_order, name="place"),
    path("orders/async/", views.place_order_async, name="place_async"),
    path("orders/live/", views.LiveCheckout.as_view(), name="live"),
    path("orders/<int:pk>/", views.order_page, name="order"),
    path("orders/<int:pk>/card/", views.change_card, name="change_card"),
]
