import { Page } from '../components/Page';

export default function DefinitionsPage() {
  return <Page title="Definitions">{null}</Page>;
}
