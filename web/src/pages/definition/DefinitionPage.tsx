import { Page } from '../../components/Page';

export default function DefinitionPage() {
  return <Page title="Definition">{null}</Page>;
}
