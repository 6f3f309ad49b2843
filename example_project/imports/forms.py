"""What is asked for before an import."""

from django import forms


class UploadForm(forms.Form):
    """A file of airports."""

    file = forms.FileField(
        label="CSV file",
        help_text="With columns icao, iata, name, city, subd, country, elevation, lat, lon, tz.",
    )
